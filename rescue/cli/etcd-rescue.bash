# bash completion for etcd-rescue. Made by make-completion from the program's own --help; do not edit.

_etcd_rescue_words() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "$current"); }

# What an option takes. Fails for options that take nothing, or nothing that can be known here.
_etcd_rescue_value() {
  case $1 in
    --strategy) _etcd_rescue_words "force-new-cluster restore" ;;
    --commit) _etcd_rescue_words "log-end known" ;;
    --profile) _etcd_rescue_words "constellation luks2" ;;
    --ui) _etcd_rescue_words "auto screen line" ;;
    --to) _etcd_rescue_words "nv esp console" ;;
    --accept) _etcd_rescue_words "header:foreign-field header:foreign-token header:header-padding header:kdf-cost" ;;
    --data-dir | --journal | --wal-dir) mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
    --disk) mapfile -t COMPREPLY < <(compgen -W "auto" -- "$current"; compgen -f -- "$current") ;;
    --secret) mapfile -t COMPREPLY < <(compgen -W "credential prompt tpm" -- "$current"; compgen -f -- "$current") ;;
    --port) mapfile -t COMPREPLY < <(compgen -W "auto" -- "$current"; compgen -f -- "$current") ;;
    --job | --out | --key-file | --passphrase-file | --pin | --tpm | --image-key | --image-signature | --console)
      mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    *) return 1 ;;
  esac
}

_etcd_rescue() {
  local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}
  COMPREPLY=()
  if [ "$COMP_CWORD" = 1 ]; then
    _etcd_rescue_words "inspect plan apply verify undo hash status members keys compare backups snapshot initialize disks run serve wizard derive-key seal-secret --help --version"
    return
  fi
  if _etcd_rescue_value "$before"; then return; fi
  case $command in
    inspect) _etcd_rescue_words "--accept --data-dir --disk --help --image-key --image-signature --journal --json --key-file --passphrase-file --pin --profile --quick --secret --spend-last-try --token --tpm --wal-dir" ;;
    plan) _etcd_rescue_words "--accept --accept-cut-tail --accept-hash-mismatch --accept-loss --bump-revision --clear-alarms --commit --data-dir --discard-old --disk --from --help --image-key --image-signature --initial-cluster-token --journal --json --keep-ids --key-file --mark-compacted --name --passphrase-file --peer-url --pin --profile --quick --secret --spend-last-try --strategy --to-revision --token --tpm --wal-dir" ;;
    apply) _etcd_rescue_words "--accept --accept-cut-tail --accept-hash-mismatch --accept-loss --bump-revision --clear-alarms --commit --data-dir --discard-old --disk --from --help --image-key --image-signature --initial-cluster-token --journal --json --keep-ids --key-file --mark-compacted --name --passphrase-file --peer-url --pin --profile --quick --secret --spend-last-try --strategy --to-revision --token --tpm --wal-dir --yes" ;;
    verify) _etcd_rescue_words "--accept --data-dir --disk --help --image-key --image-signature --journal --json --key-file --passphrase-file --pin --profile --quick --secret --spend-last-try --token --tpm --wal-dir" ;;
    undo) _etcd_rescue_words "--accept --data-dir --disk --help --image-key --image-signature --journal --json --key-file --passphrase-file --pin --profile --secret --spend-last-try --token --tpm --wal-dir --yes" ;;
    hash) _etcd_rescue_words "--accept --data-dir --disk --help --json --key-file --passphrase-file --profile --rev --secret --token --wal-dir" ;;
    status) _etcd_rescue_words "--accept --data-dir --disk --help --json --key-file --passphrase-file --profile --quick --secret --token --wal-dir" ;;
    members) _etcd_rescue_words "--accept --data-dir --disk --help --json --key-file --passphrase-file --profile --secret --token --wal-dir" ;;
    keys) _etcd_rescue_words "--accept --data-dir --disk --from --help --json --key-file --limit --passphrase-file --prefix --profile --rev --secret --token --values --wal-dir" ;;
    compare) _etcd_rescue_words "--accept --data-dir --disk --help --json --key-file --passphrase-file --profile --quick --secret --token --wal-dir" ;;
    backups) _etcd_rescue_words "--accept --data-dir --disk --from --help --json --key-file --passphrase-file --profile --quick --secret --token --wal-dir" ;;
    snapshot) _etcd_rescue_words "--help" ;;
    initialize) _etcd_rescue_words "--accept --accept-hash-mismatch --bump-revision --data-dir --discard-old --disk --from --help --initial-cluster-token --journal --json --key-file --mark-compacted --name --owner --passphrase-file --peer-url --profile --secret --to-revision --token --validation --wal-dir --yes" ;;
    disks) _etcd_rescue_words "--help --json" ;;
    run) _etcd_rescue_words "--appliance --check --console --help --job --secret --wait-for-disk" ;;
    serve) _etcd_rescue_words "--appliance --console --help --image-key --image-signature --pin --port --spend-last-try --tpm" ;;
    wizard) _etcd_rescue_words "--appliance --console --data-dir --disk --help --journal --mono --secret --ui" ;;
    derive-key) _etcd_rescue_words "--force --help --image-key --image-signature --luks-uuid --pin --secret --spend-last-try --tpm" ;;
    seal-secret) _etcd_rescue_words "--disk-key --help --image-key --image-signature --out --pcr7 --pin --remove-nv --replace --secret --spend-last-try --to --tpm --with-pin" ;;
    *) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
  esac
}

complete -o filenames -F _etcd_rescue etcd-rescue
