# shellcheck shell=bash
# Packages from Debian: installed on the host, or fetched from a further suite and unpacked beside.
# Sourced by image/* and tests/*. A further suite (backports, trixie, forky) is looked for on the same
# mirror that the machine's own apt sources name; the machine's apt configuration is not changed.

# Cached downloads and private apt state live here; override to keep them elsewhere.
: "${ETCD_RESCUE_CACHE:=${XDG_CACHE_HOME:-$HOME/.cache}/etcd-rescue}"

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# bookworm, trixie, ...
debian_codename() { (. /etc/os-release && printf '%s\n' "$VERSION_CODENAME"); }

# The URI of the machine's own main suite, as its package lists show it; nothing when there are none yet.
debian_listed_mirror() {
  # shellcheck disable=SC2016  # apt expands these
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)' 'Created-By: Packages' |
    awk -v s="$(debian_codename)" '$2 == s && $3 == "main" && $4 == "Debian" && !uri { uri = $1 }
      END { print uri }'
}

# The URI of the archive that the machine's own main suite comes from.
debian_mirror() {
  local uri
  uri=$(debian_listed_mirror)
  if [ -z "$uri" ]; then
    # A machine whose lists were never fetched shows no origin yet.
    apt-get -q update >&2 || die "apt-get update failed: check the machine's apt sources"
    uri=$(debian_listed_mirror)
  fi
  [ -n "$uri" ] || die "no Debian main suite in the machine's apt sources"
  printf '%s\n' "${uri%/}"
}

debian_keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# debian_sources_for SUITE...: a deb822 sources text for these suites on the machine's own mirror.
debian_sources_for() {
  printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' \
    "$(debian_mirror)" "$*" "$debian_keyring"
}

# apt_private SUITE APT-TOOL ARGS...: an apt tool that sees only SUITE, with its state in the cache.
apt_private() {
  local suite=$1 tool=$2 root
  shift 2
  root=$ETCD_RESCUE_CACHE/apt-$suite
  mkdir -p "$root/lists/partial" "$root/archives/partial" "$root/etc"
  if [ ! -s "$root/etc/$suite.sources" ]; then
    debian_sources_for "$suite" > "$root/etc/$suite.sources.new"
    mv "$root/etc/$suite.sources.new" "$root/etc/$suite.sources"
  fi
  "$tool" -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$root/etc" \
    -o Dir::State::lists="$root/lists" -o Dir::Cache::archives="$root/archives" \
    -o Dir::Cache::pkgcache="$root/pkgcache.bin" -o Dir::Cache::srcpkgcache="$root/srcpkgcache.bin" \
    -o APT::Sandbox::User=root -o APT::Get::List-Cleanup=0 "$@"
}

# debian_fetch SUITE PACKAGE DIR: unpacks SUITE's PACKAGE below DIR (not installed; cached).
debian_fetch() {
  local suite=$1 package=$2 dir=$3 deb tmp
  [ ! -e "$dir/.complete" ] || return 0
  apt_private "$suite" apt-get -q update >&2 || die "suite $suite cannot be read from the mirror"
  tmp=$dir.new
  rm -rf "$tmp" "$dir"
  mkdir -p "$tmp/deb"
  (cd "$tmp/deb" && apt_private "$suite" apt-get -q download "$package" >&2) ||
    die "package $package of $suite cannot be fetched"
  for deb in "$tmp"/deb/*.deb; do dpkg-deb -x "$deb" "$tmp"; done
  touch "$tmp/.complete"
  mv "$tmp" "$dir"
}

# debian_install PACKAGE...: installs what is missing, from the machine's own suites; a name written as
# PACKAGE/backports comes from <codename>-backports on Debian 12 and from the suite itself later.
debian_install() {
  local wanted=() name suite codename
  codename=$(debian_codename)
  for name in "$@"; do
    if [[ $name == */backports ]]; then
      name=${name%/backports}
      [ "$codename" != bookworm ] || name=$name/$codename-backports
    fi
    wanted+=("$name")
  done
  local missing=()
  for name in "${wanted[@]}"; do
    if ! debian_is_installed "$name"; then missing+=("$name"); fi
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || die "these packages are missing, and installing them needs root: ${missing[*]}"
  say "installing: ${missing[*]}"
  local root=$ETCD_RESCUE_CACHE/apt-host
  mkdir -p "$root/etc"
  cp -a /etc/apt/sources.list.d/. "$root/etc/" 2>/dev/null || mkdir -p "$root/etc"
  [ ! -s /etc/apt/sources.list ] || cp /etc/apt/sources.list "$root/etc/machine.list"
  if [ "$codename" = bookworm ]; then
    suite=$codename-backports
    apt-cache policy | grep -q "n=$suite" || debian_sources_for "$suite" > "$root/etc/rescue.sources"
  fi
  local options=(-q -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$root/etc"
    -o Dpkg::Use-Pty=0 -o APT::Get::List-Cleanup=0 -o DPkg::Lock::Timeout=300)
  apt-get "${options[@]}" update >&2 || die "apt-get update failed"
  DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" install -y --no-install-recommends \
    "${missing[@]}" >&2 || die "packages could not be installed: ${missing[*]}"
}

# debian_is_installed NAME[/SUITE]: with a backports suite, only the version from there counts.
debian_is_installed() {
  local version
  version=$(dpkg-query -W -f '${db:Status-Abbrev} ${Version}' "${1%/*}" 2>/dev/null) || return 1
  [[ $version == ii\ * ]] || return 1
  [[ $1 != */bookworm-backports || $version == *~bpo12+* ]]
}
