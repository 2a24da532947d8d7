# shellcheck shell=bash
# The kernel image and the disk that holds it, made so that the same inputs give the same bytes. Sourced after debian.sh.

# A moment that all builds agree on: 2026-01-01. Signatures, file systems and archives carry it instead of the clock's.
readonly uki_epoch=1767225600

# uki_section FILE NAME: the text of one section of a kernel image.
uki_section() {
  # Debian's own interpreter: a pyenv or conda in front of it lacks pefile.
  /usr/bin/python3 -c '
import pefile, sys
for section in pefile.PE(sys.argv[1], fast_load=True).sections:
    if section.Name.rstrip(b"\0") == sys.argv[2].encode():
        print(section.get_data()[:section.Misc_VirtualSize].decode().rstrip("\0\n"))
' "$1" "$2"
}

# uki_make PARTS INITRD CMDLINE OUT [OPTION...]: kernel, stub and names from PARTS.*; further options are ukify's.
uki_make() {
  local parts=$1 initrd=$2 cmdline=$3 out=$4 ukify=/usr/lib/systemd/ukify
  shift 4
  [ -e "$ukify" ] || ukify=/usr/bin/ukify
  SOURCE_DATE_EPOCH=$uki_epoch /usr/bin/python3 "$ukify" build --linux "$parts.vmlinuz" --initrd "$initrd" --stub "$parts.stub" \
    --cmdline "$cmdline" --os-release "@$parts.os-release" --uname "$(cat "$parts.uname")" --efi-arch x64 \
    --output "$out" "$@" >&2 || die "ukify could not make $out"
}

# uki_sign KEYS FILE: signs for Secure Boot, in place. RSA signatures are the same each time; the time in them is fixed.
uki_sign() {
  local moment
  moment=$(date -u -d "@$uki_epoch" '+%Y-%m-%d %H:%M:%S')
  TZ=UTC faketime -f "$moment" sbsign --key "$1/image.key" --cert "$1/image.crt" --output "$2.signed" "$2" >&2 ||
    die "$2 could not be signed with $1/image.key"
  mv "$2.signed" "$2"
}

# uki_disk FILE OUT: a disk with one FAT32 ESP that holds FILE as EFI/BOOT/BOOTX64.EFI, and nothing else. Its names derive
# from FILE, so that the same kernel image gives the same disk.
uki_disk() {
  local uki=$1 out=$2 mib id first=2048
  # FAT32 needs 65525 clusters: 36 MiB of single sectors are enough for firmware to believe in it.
  mib=$((($(stat -c %s "$uki") >> 20) + 3))
  [ "$mib" -ge 36 ] || mib=36
  id=$(sha256sum "$uki" | sed -E 's/^(.{8})(.{4})(.{3})(.{3})(.{12}).*/\1-\2-8\3-a\4-\5/')
  rm -f "$out"
  truncate -s $((mib + 2))M "$out"
  sfdisk --quiet "$out" <<TABLE
label: gpt
label-id: $id
start=$first, size=$((mib * 2048)), type=uefi, uuid=$id, name=etcd-rescue
TABLE
  # It wonders, on standard error, that the file goes on behind the partition.
  mkfs.vfat -F 32 -s 1 --invariant -i "${id:0:8}" -n ETCDRESCUE --offset $first "$out" $((mib * 1024)) > /dev/null 2>&1 ||
    die "no file system could be made in $out"
  local esp=$out@@$((first * 512))
  SOURCE_DATE_EPOCH=$uki_epoch TZ=UTC mmd -i "$esp" ::/EFI ::/EFI/BOOT
  touch -d "@$uki_epoch" "$uki"
  SOURCE_DATE_EPOCH=$uki_epoch TZ=UTC mcopy -m -i "$esp" "$uki" ::/EFI/BOOT/BOOTX64.EFI
  mdir -b -/ -i "$esp" ::/EFI/BOOT | grep -qx '::/EFI/BOOT/BOOTX64.EFI' || die "the ESP of $out lacks its kernel image"
}
