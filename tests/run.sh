#!/usr/bin/env bash
# Installs what the tests need where it is missing, runs all tests, and prints one summary line.
set -euo pipefail
cd "$(dirname "$0")/.."

# program=Debian package
needed=(
  redis-server=redis-server redis-cli=redis-tools turnutils_uclient=coturn turnadmin=coturn
  ssh=openssh-client ssh-keygen=openssh-client /usr/sbin/sshd=openssh-server pgrep=procps
  chromium=chromium chromedriver=chromium-driver python3=python3
  sqlite3=sqlite3 tmux=tmux script=bsdutils openssl=openssl ps=procps kill=procps cc=gcc prlimit=util-linux
  psql=postgresql-client /usr/sbin/mariadbd=mariadb-server-core mariadb=mariadb-client-core setpriv=util-linux
  ip=iproute2 unshare=util-linux /usr/sbin/sysctl=procps valgrind=valgrind
)
missing=()
for pair in "${needed[@]}"; do
  command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
done

# Debian keeps PostgreSQL's server out of the path, a folder for each version.
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null || missing+=(postgresql)

# Debian splits the modules that make an environment from the interpreter.
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)

policy=/usr/sbin/policy-rc.d
if ((${#missing[@]})); then
  if ! command -v apt-get >/dev/null; then
    echo "tests need these Debian packages or their like: ${missing[*]}" >&2
    exit 1
  fi
  as_root=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null || { echo "run as root or install by hand: ${missing[*]}" >&2; exit 1; }
    as_root=(sudo)
  fi
  # The tests start their own servers: the packages' daemons must not come up with the installation.
  made_policy=
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
    made_policy=1
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
  fi
  # A PostgreSQL that is installed for the tests must not come up with the next boot either.
  common=/etc/postgresql-common
  if [[ " ${missing[*]} " == *" postgresql "* && ! -e $common/createcluster.conf ]]; then
    "${as_root[@]}" mkdir -p "$common/createcluster.d"
    echo 'create_main_cluster = false' | "${as_root[@]}" tee "$common/createcluster.d/tests.conf" >/dev/null
    echo "$common/createcluster.d/tests.conf keeps PostgreSQL from making a cluster of its own here." >&2
  fi
  "${as_root[@]}" apt-get update -qq
  # Nothing that this machine has may go for it, such as a MySQL that keeps MariaDB out.
  if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends --no-remove "${missing[@]}" >/dev/null; then
    echo "apt-get could not install ${missing[*]}." >&2
    echo "If it says that packages need to be removed: the tests remove none. Run them on another machine, in a" \
      "container, or remove those yourself first: apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  if [[ $made_policy ]]; then
    "${as_root[@]}" rm -f "$policy"
    trap - EXIT
  fi
fi

# Clients from PyPI, in an environment beside the builds; made anew when its list changes.
python=${CARGO_TARGET_DIR:-target}/python
if ! cmp -s tests/interop/requirements.txt "$python/requirements.txt"; then
  rm -rf "$python"
  python3 -m venv "$python"
  "$python/bin/pip" install --quiet --disable-pip-version-check --require-hashes \
    --only-binary :all: -r tests/interop/requirements.txt
  cp tests/interop/requirements.txt "$python/"
fi

# Valkey, where this system's own sources have it: unpacked beside the builds, installed nowhere.
valkey=$(command -v valkey-server || true)
no_valkey='there is no valkey-server here, and no package of it in this system'"'"'s sources'
if [[ ! $valkey ]] && command -v apt-get >/dev/null; then
  place=$(realpath -m "${CARGO_TARGET_DIR:-target}")/valkey
  if "$place/usr/bin/valkey-server" --version >/dev/null 2>&1; then
    valkey=$place/usr/bin/valkey-server
  elif apt-cache show valkey-server >/dev/null 2>&1; then
    # Whole or not at all: what an attempt that failed left behind must not look like the program.
    rm -rf "$place"
    mkdir -p "$place"
    # The server is a link to the program of the tools' package.
    if ! said=$(cd "$place" && apt-get download -qq valkey-server valkey-tools 2>&1); then
      no_valkey="its package could not be downloaded: ${said:-no reason given}"
    elif ! said=$(cd "$place" && for package in ./*.deb; do dpkg -x "$package" . || exit 1; done 2>&1); then
      no_valkey="its package could not be unpacked: ${said:-no reason given}"
    elif ! said=$("$place/usr/bin/valkey-server" --version 2>&1); then
      no_valkey="its package does not run here: ${said:-no reason given}"
    else
      valkey=$place/usr/bin/valkey-server
    fi
  fi
fi

# Some suites start the real programs; they are built before anything is timed.
cargo build --workspace --bins

# Most suites wait for programs that take their time, and hardly compute: four at once do on one core, too, and
# more than one a core on many.
cores=$(nproc)
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((cores < 4 ? 4 : cores * 3 / 2))}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
cargo test --workspace --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?

if [[ $valkey ]]; then
  echo "The suite of stores, with $("$valkey" --version):"
  TESTS_REDIS_SERVER=$valkey cargo test --workspace --test store --no-fail-fast 2>&1 |
    tee -a "$log" || status=$?
else
  echo "Valkey was not tested: $no_valkey."
fi

read -r passed failed < <(awk '/^test result:/ { p += $4; f += $6 } END { print p + 0, f + 0 }' "$log")
echo "$passed passed, $failed failed"
if ((status == 0 && failed == 0 && passed > 0)); then exit 0; fi
exit 1
