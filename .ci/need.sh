# Sourced by scripts that need programs of Debian packages.

# Some machines do not have the folders of servers on everybody's path.
export PATH=$PATH:/usr/sbin:/sbin

# need COMMAND PACKAGE [COMMAND PACKAGE]...: installs the packages of those commands that are not
# there. The services that come with them are not started.
need() {
  local missing=()
  while (($#)); do
    command -v "$1" >/dev/null || missing+=("$2")
    shift 2
  done
  ((${#missing[@]})) || return 0
  echo "installing ${missing[*]}"
  local apt=(env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
  "${apt[@]}" update
  "${apt[@]}" install -y --no-install-recommends "${missing[@]}"
}
