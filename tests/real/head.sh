# Sourced first by every suite's script: one temporary folder, and an end that leaves nothing behind.

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
folder=$(mktemp -d)
suite=

finish() {
  trap - EXIT
  if [[ -n $suite ]] && kill -TERM "$suite" 2>/dev/null; then
    wait "$suite" || true
  fi
  rm -rf "$folder"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# shellcheck source=.ci/need.sh
source .ci/need.sh

# must_have COMMAND...: those that no Debian package brings in the version that is needed.
must_have() {
  for command in "$@"; do
    command -v "$command" >/dev/null || { echo "$command is missing" >&2; exit 1; }
  done
}

# profile ARGUMENT...: sets $profile and $rate by the options that suites have in common.
profile() {
  profile=debug
  rate=
  while (($#)); do
    case $1 in
      --debug) profile=debug ;;
      --release) profile=release ;;
      --rate) rate=${2:?a number}; shift ;;
      *) echo "usage: $0 [--release] [--rate N]" >&2; exit 2 ;;
    esac
    shift
  done
}

# build [release]: the gateway into $folder. A copy of its own: a suite tests one program, even when
# somebody builds meanwhile.
build() {
  local profile=${1:-debug} options=()
  [[ $profile == debug ]] || options=(--release)
  cargo build --quiet --bin portcullis "${options[@]}"
  cp "$target/$profile/portcullis" "$folder/portcullis"
}

# python_packages NAME REQUIREMENTS: prints the interpreter that has them, in cargo's target folder.
python_packages() {
  python3 -m venv "$target/$1" >&2
  "$target/$1/bin/pip" install --quiet --disable-pip-version-check -r "$2" >&2
  echo "$target/$1/bin/python"
}

# perform FOLDER ARGUMENT...: the suite of that folder, with a new folder as the last argument. In
# the background and waited for, so that a signal is not left waiting for its end.
perform() {
  mkdir "$folder/run"
  PYTHONPATH=$here/suite ${python:-python3} -B "$here/$1" "${@:2}" "$folder/run" &
  suite=$!
  wait "$suite"
}
