#include "rescue/cli/cli.h"

int main(int argc, char** argv) { return rescue::cli::Main(argc, argv); }
