// Secret: where from, and then the secret itself or its path.
#include "tui/screens.h"

namespace rescue::tui {
namespace {

// What can be chosen, in its order.
struct Source {
  enum class Kind { kFile, kTpm, kCredential, kTyped, kOtherDisk };
  Kind kind = Kind::kTyped;
  std::optional<disk::FoundDisk> disk;
};

std::vector<Source> Sources(const Model& model) {
  std::vector<Source> sources;
  if (!model.setup.secret_file.empty()) sources.push_back({Source::Kind::kFile, {}});
  if (!model.setup.credential.empty()) sources.push_back({Source::Kind::kCredential, {}});
  const bool sealed = !model.sealed || model.sealed->has_value();
  if (model.setup.tpm && sealed) sources.push_back({Source::Kind::kTpm, {}});
  sources.push_back({Source::Kind::kTyped, {}});
  for (const auto& disk : OtherDisks(model)) sources.push_back({Source::Kind::kOtherDisk, disk});
  // Said, so that nobody looks for it.
  if (model.setup.tpm && !sealed) sources.push_back({Source::Kind::kTpm, {}});
  return sources;
}

Choice DescribeTpm(const Model& model) {
  Choice choice;
  choice.label = "the TPM of this machine";
  if (model.sealed && !*model.sealed) {
    choice.selectable = false;
    choice.details = {Text("found, but of no use: " + model.sealed->error().message, Style::kDim)};
    return choice;
  }
  const std::string place = model.sealed ? " from " + model.sealed->value() : "";
  choice.details = {Text("found: it gives the sealed secret" + place +
                         " away while this very image runs; its PIN, if it has one, is asked for")};
  return choice;
}

Choice Describe(const Model& model, const Source& source) {
  const auto choice = [](std::string label, std::string detail) {
    return Choice{std::move(label), {Text(std::move(detail))}, true, std::nullopt};
  };
  switch (source.kind) {
    case Source::Kind::kFile:
      return choice("the file " + model.setup.secret_file, "named when the wizard was started");
    case Source::Kind::kTpm:
      return DescribeTpm(model);
    case Source::Kind::kCredential:
      return choice("the credential etcd-rescue.master-secret", "found: it came with this machine");
    case Source::Kind::kOtherDisk:
      return choice("a file on " + source.disk->path,
                    "a disk with " + source.disk->content + "; it is mounted to read the file");
    case Source::Kind::kTyped:
      break;
  }
  return choice("type or paste it",
                "the master secret as JSON or kms:// URI, or a disk key in hex or base64");
}

std::string PlacesText(const Model& model) {
  if (model.for_undo) return model.place.Name();
  std::string text;
  for (const auto& place : model.places) text += (text.empty() ? "" : ", ") + place.Name();
  return text;
}

void AskForSecret(View& view) {
  view.body.push_back(Text(""));
  view.body.push_back(
      Text("Nothing of it is shown, not even its length. Line breaks inside are welcome: it ends "
           "when nothing follows the last Enter. Ctrl-U clears it."));
  Field field;
  field.label = "Secret";
  field.kind = Field::Kind::kSecret;
  view.fields = {std::move(field)};
  view.focus = 0;
  view.question = "Secret (nothing is shown)";
}

void AskForPath(const Model& model, View& view) {
  Field field;
  field.label = "path";
  field.value = model.secret_path;
  field.note = fmt::format("of the file on {}", model.secret_disk->path);
  view.fields = {std::move(field)};
  view.choices = {{"Read it and open the disk", {}, true, std::nullopt}};
}

void AskForPin(const Model& model, View& view) {
  if (model.pin_tries) {
    view.body.push_back(
        Labelled("tries", fmt::format("{} of {} left until the TPM locks", model.pin_tries->left,
                                      model.pin_tries->allowed)));
  }
  view.body.push_back(Text(""));
  view.body.push_back(
      Text("The secret was sealed to the TPM with a PIN. Nothing of it is shown, not even its "
           "length; Enter ends it, Ctrl-U clears it."));
  Field field;
  field.label = "PIN";
  field.kind = Field::Kind::kSecret;
  view.fields = {std::move(field)};
  view.focus = 0;
  view.question = "PIN (nothing is shown)";
}

View ShowSecret(const Model& model) {
  View view = Blank(model);
  const std::string what = model.for_undo ? "open the disk once more, for undo" : "open the disk";
  view.body = {Text(fmt::format("What is to {}?", what), Style::kStrong),
               Labelled("disk", PlacesText(model))};
  if (model.for_undo) {
    view.body.push_back(Text("Its key was wiped from memory when the rescue was done."));
  }
  if (model.tries > 0) {
    view.body.push_back(Labelled("try", fmt::format("{} of 3", model.tries + 1), Style::kWarn));
  }
  view.question = "Number";
  switch (model.step) {
    case SecretStep::kSource:
      for (const auto& source : Sources(model)) view.choices.push_back(Describe(model, source));
      break;
    case SecretStep::kTyping:
      AskForSecret(view);
      break;
    case SecretStep::kPath:
      AskForPath(model, view);
      break;
    case SecretStep::kPin:
      AskForPin(model, view);
      break;
  }
  view.commands = {{Action::kContinue, 0, 0, "Continue"}, {Action::kBack, 'b', 0, "Back"}};
  AddUsual(view);
  return view;
}

Effects Unlock(Model& model, SecretFrom from) {
  if (model.for_undo) {
    return Start(model, "Taking the last apply back", true,
                 UndoTask{model.place, std::move(from), model.setup.journal_directory});
  }
  return LookAtPlaces(model, std::move(from));
}

SecretFrom FromFile(const std::string& path, const std::optional<disk::FoundDisk>& disk) {
  SecretFrom from;
  from.file = path;
  from.disk = disk;
  return from;
}

SecretFrom FromTpm(SecretBytes pin, bool spend_last_try) {
  SecretFrom from;
  from.tpm = true;
  from.pin = std::move(pin);
  from.spend_last_try = spend_last_try;
  return from;
}

Effects ReadFromDisk(Model& model) {
  return Unlock(model, FromFile(model.secret_path, model.secret_disk));
}

Effects ChooseSource(Model& model, std::size_t choice) {
  if (model.step == SecretStep::kPath) return ReadFromDisk(model);
  const Source source = Sources(model)[choice];
  model.notice.clear();
  switch (source.kind) {
    case Source::Kind::kTyped:
      model.step = SecretStep::kTyping;
      WipeSecret(model);
      return {};
    case Source::Kind::kOtherDisk:
      model.step = SecretStep::kPath;
      model.secret_disk = source.disk;
      model.spots[Screen::kSecret].focus = 0;
      return {};
    case Source::Kind::kTpm:
      model.spend_last_try = false;
      return Unlock(model, FromTpm(SecretBytes(), false));
    case Source::Kind::kFile:
      return Unlock(model, FromFile(model.setup.secret_file, std::nullopt));
    case Source::Kind::kCredential:
      break;
  }
  return Unlock(model, FromFile(model.setup.credential, std::nullopt));
}

Effects FillPath(Model& model, std::size_t, std::string_view value) {
  if (model.step == SecretStep::kPath) model.secret_path = std::string(value);
  return {};
}

Effects ContinueFromSecret(Model& model) {
  if (model.step == SecretStep::kSource) return ChooseSource(model, 0);
  if (model.step == SecretStep::kPath) return ReadFromDisk(model);
  if (model.secret_size == 0) return {};
  SecretBytes typed = std::move(model.secret);
  typed.Shrink(model.secret_size);
  WipeSecret(model);
  if (model.step == SecretStep::kPin) {
    return Unlock(model, FromTpm(std::move(typed), model.spend_last_try));
  }
  SecretFrom from;
  from.typed = std::move(typed);
  return Unlock(model, std::move(from));
}

Effects BackFromSecret(Model& model) {
  WipeSecret(model);
  if (model.step != SecretStep::kSource) {
    model.step = SecretStep::kSource;
    model.notice.clear();
    return {};
  }
  if (model.for_undo) {
    GoTo(model, model.applied || model.undone ? Screen::kReport : Screen::kPath);
    model.for_undo = false;
    return {};
  }
  GoTo(model, Screen::kDisks);
  return With(ForgetKeys{});
}

Effects ActOnSecret(Model& model, Action action) {
  if (action == Action::kContinue) return ContinueFromSecret(model);
  if (action == Action::kBack) return BackFromSecret(model);
  return {};
}

}  // namespace

const ScreenFunctions kSecretScreen = {ShowSecret, ChooseSource, nullptr, FillPath, ActOnSecret};

std::vector<disk::FoundDisk> OtherDisks(const Model& model) {
  std::vector<disk::FoundDisk> disks;
  // On a machine that lives, files are named by their paths.
  if (!model.setup.appliance) return disks;
  for (const auto& disk : model.disks) {
    if (session::CanHoldFiles(disk)) disks.push_back(disk);
  }
  return disks;
}

}  // namespace rescue::tui
