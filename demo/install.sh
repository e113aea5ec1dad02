# Installs the database servers named as arguments (postgresql, mariadb) from the system's packages, as root.
# No server is made or started by it, and none that exists is touched: for its duration, PostgreSQL's packages are told to make
# no cluster and all packages to start nothing; of MariaDB only the programs are installed, not the service.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C

note='# tributary demo: only while it installs packages'
policy=/usr/sbin/policy-rc.d
clusters=/etc/postgresql-common/createcluster.d
restore() {
    if grep -qsF "$note" "$policy"; then rm -f "$policy"; fi
    rm -f "$clusters/zz-tributary-demo.conf"
    rmdir "$clusters" 2>/dev/null || true
}
restore # what a killed run left
trap restore EXIT
trap 'exit 130' INT TERM

if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\n%s\nexit 101\n' "$note" >"$policy"
    chmod 755 "$policy"
fi
mkdir -p "$clusters"
printf '%s\ncreate_main_cluster = false\n' "$note" >"$clusters/zz-tributary-demo.conf"

apt() { apt-get -q -y -o DPkg::Lock::Timeout=300 "$@"; }
known() { apt-cache show "$1" 2>/dev/null | grep -q '^Filename:'; }

# The newest versioned package of a family, as old Ubuntu releases call them (mariadb-server-core-10.6).
versioned() { apt-cache pkgnames "$1-" | grep -E "^$1-[0-9.]+\$" | sort -V | tail -n 1; }

choose() {
    case $1 in
    postgresql) apt-cache depends postgresql 2>/dev/null | sed -n 's/^ *Depends: \(postgresql-[0-9.]*\)$/\1/p' | head -n 1 ;;
    mariadb) for p in mariadb-server-core mariadb-client-core; do if known $p; then echo $p; else versioned $p; fi; done ;;
    esac
}

chosen=
for round in 1 2; do
    chosen=
    for name in "$@"; do
        found=$(choose "$name")
        if [ -z "$found" ]; then chosen=; break; fi
        chosen="$chosen $found"
    done
    # Package lists that are too old name files that are gone, so a failed installation updates them once, too.
    if [ -n "$chosen" ] && apt install --no-install-recommends $chosen; then
        break
    fi
    if [ $round = 2 ]; then
        echo "cannot install:${chosen:- no package found for $*}" >&2
        exit 1
    fi
    apt update
done

# The service package would make this user; the servers' programs alone do not.
case " $* " in *" mariadb "*)
    if ! getent passwd mysql >/dev/null; then
        getent group mysql >/dev/null || groupadd --system mysql
        useradd --system --gid mysql --no-create-home --home-dir /nonexistent --shell /bin/false --comment 'MariaDB Server' mysql
    fi ;;
esac
