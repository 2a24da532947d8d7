# shellcheck shell=bash
# Which Debian packages each of image's commands needs on the machine it runs on. Sourced after debian.sh.
# NAME/backports: see debian_install. tests/ has its own lists for its own tools.

# mkosi 24.3 needs systemd 254 (ukify), so on Debian 12 both come from backports together.
# faketime fixes the time that sbsign writes into a signature.
image_packages_build() {
  cat <<'PACKAGES'
mkosi/backports
systemd/backports
systemd-container/backports
systemd-boot/backports
systemd-boot-efi/backports
apt
binutils
bubblewrap
busybox-static
cpio
debian-archive-keyring
dosfstools
e2fsprogs
faketime
fdisk
git
kmod
mtools
openssl
python3
python3-cryptography
python3-pefile
sbsigntool
xz-utils
zstd
PACKAGES
  # Debian 13 split these from systemd and systemd-boot.
  if [ "$(debian_codename)" != bookworm ]; then
    printf '%s\n' systemd-repart systemd-ukify
  fi
}

# The virtual machine: QEMU without its desktop parts, UEFI firmware, keys for it, a software TPM.
image_packages_boot() {
  cat <<'PACKAGES'
ovmf
python3
python3-virt-firmware/backports
qemu-system-x86
swtpm
swtpm-tools
PACKAGES
}

# State disks are made and read inside User-Mode Linux; etcd itself is fetched and unpacked beside.
image_packages_demo() {
  cat <<'PACKAGES'
busybox-static
cryptsetup-bin
dmsetup
e2fsprogs
python3
tar
user-mode-linux
PACKAGES
}

# image/export: converters for disks, what makes a CD of one, a boot loader for machines without UEFI.
image_packages_export() {
  cat <<'PACKAGES'
dosfstools
fdisk
mtools
qemu-utils
syslinux
syslinux-common
tar
xorriso
PACKAGES
}
