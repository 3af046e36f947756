#!/usr/bin/env bash
# The gateway with RabbitMQ as the broker of an API Manager: events of all types and in both encodings,
# revoked tokens, a broker that is away. RabbitMQ runs under a name, on ports and in a folder of its own.
#
#   tests/real/rabbitmq.sh [--release] [--outage SECONDS]
#
# Figures count for a release build only; the broker is away for 3 s unless told otherwise. Prints one line for
# each case and ends with `N passed, N failed`.

# shellcheck source=tests/real/head.sh
source "$(dirname "${BASH_SOURCE[0]}")/head.sh"
profile=debug
outage=3
while (($#)); do
  case $1 in
    --release) profile=release ;;
    --outage) outage=${2:?seconds}; shift ;;
    *) echo "usage: $0 [--release] [--outage SECONDS]" >&2; exit 2 ;;
  esac
  shift
done
need nginx nginx-light wrk wrk epmd erlang-base \
  /usr/lib/rabbitmq/bin/rabbitmq-server rabbitmq-server
must_have cargo python3

python=$(python_packages rabbitmq "$here/rabbitmq/requirements.txt")
build "$profile"
echo "RabbitMQ $(dpkg-query -Wf '${Version}' rabbitmq-server), $profile build, $(nproc) cores"
perform rabbitmq "$folder/portcullis" "$profile" "$outage"
