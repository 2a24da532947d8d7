# shellcheck shell=bash
# Which Debian packages the tests need on the machine they run on. Sourced after image/lib/debian.sh.
# NAME/backports: see debian_install.

# Compiling the program: libraries as in DESIGN, Debian's versions. libtss2-dev brings udev, which must be of
# libudev1's version.
packages_build() {
  cat <<'PACKAGES'
ccache
cmake
g++
libblkid-dev
libcli11-dev
libcryptsetup-dev
libdevmapper-dev
libexpected-dev
libfmt-dev
libisal-dev
libmount-dev
libncurses-dev
libprotozero-dev
libssl-dev
libtss2-dev
libudev-dev/backports
libyaml-cpp-dev
ninja-build
nlohmann-json3-dev
pkgconf
udev/backports
zlib1g-dev
PACKAGES
}

# Unit tests: Catch2 v3 (Debian 12 has v2), xz to unpack fixtures, a software TPM, a validator for the job's schema.
packages_unit() {
  packages_build
  printf '%s\n' catch2/backports python3 python3-jsonschema swtpm tar xz-utils
}

# Fuzz targets: clang's libFuzzer and sanitizers; llvm names functions in their reports.
packages_fuzz() {
  packages_build
  printf '%s\n' clang libclang-rt-dev llvm python3
}

# Real clusters: etcd itself is fetched and unpacked beside, never installed.
packages_peers() {
  packages_build
  printf '%s\n' python3 tar xz-utils
}

# State disks inside User-Mode Linux, made and read with cryptsetup's own tools.
packages_disk() {
  packages_build
  printf '%s\n' busybox-static cryptsetup-bin dmsetup e2fsprogs kmod mount openssl python3 swtpm tpm2-tools user-mode-linux \
    xfsprogs xz-utils
}

# The wizard in terminals, also inside User-Mode Linux.
packages_terminal() {
  packages_disk
  printf '%s\n' dosfstools ncurses-base ncurses-term tmux
}

# The image in a virtual machine, with a disk that was made as for the disk tier. What image/build and
# image/boot need, they install themselves.
packages_boot() {
  packages_disk
  # systemd-cryptenroll: Debian 12 has it in systemd itself.
  [ "$(debian_codename)" = bookworm ] || printf '%s\n' systemd-cryptsetup
}

packages_lint() {
  packages_unit
  printf '%s\n' clang-format clang-tidy git libvirt-clients libxml2-utils python3 shellcheck
}

# fetch_etcd: etcd 3.4.23, 3.5.16 and 3.5.30 into the cache, with Debian's packages of three suites.
fetch_etcd() {
  local suite part
  for suite in bookworm trixie forky; do
    for part in server client; do
      debian_fetch "$suite" "etcd-$part" "$ETCD_RESCUE_CACHE/etcd/$suite-$part"
    done
  done
}
