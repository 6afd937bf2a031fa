#!/usr/bin/env bash
# Fetches what the sandbox runs and the machine lacks: Debian packages, the jars of Kafka, Kafka
# Connect and Debezium, and ClickHouse's engine. Idempotent, and quick when everything is there.
# `install.sh tests` fetches also what the tests alone run: ZooKeeper, and the oldest engine.
#
# Jars and engine go to SANDBOX_DIR (default: .sandbox at the project's root). Each is unpacked
# beside its place and moved there when complete, so a cut download is done again.
#
# install.sh [WHAT] [STEP]
#   WHAT  all (default), or what one demo needs: demo, demo-cdc; tests: all, ZooKeeper, and the oldest
#         engine that is supported; versions: the same, the engines between, and other brokers; registry:
#         all, and a schema registry with the converters that write to it, which needs Java 21 or later
#   STEP  packages (of Debian), parts (everything else), or both (default): parts may be fetched while
#         cargo compiles, which needs the packages
set -euo pipefail

what=${1:-all} step=${2:-both}
case $what in
    all|demo|demo-cdc|registry|tests|versions) ;;
    *) echo "install.sh: $what: all, demo, demo-cdc, registry, tests or versions" >&2; exit 2 ;;
esac
case $step in both|packages|parts) ;; *) echo "install.sh: $step: both, packages or parts" >&2; exit 2 ;; esac

readonly CHDB_PACKAGE='@chdb/lib-linux-x64-gnu'
readonly CHDB_VERSION='26.7.3-stable.1'
readonly CHDB_BYTES_MIN=400000000

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
sandbox_dir=${SANDBOX_DIR:-$here/../../.sandbox}
mkdir -p "$sandbox_dir"
sandbox_dir=$(cd "$sandbox_dir" && pwd)

# One installation at a time; the lock ends with this process.
exec 9>"$sandbox_dir/.lock"
flock 9

say() { printf 'sandbox: %s\n' "$*"; }
die() { printf 'sandbox: %s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else return 1
    fi
}

# Debian packages whose commands are missing: "command=package" pairs.
missing_packages() {
    local pair pairs=(java=openjdk-17-jre-headless mvn=maven npm=npm perl=perl gcc=gcc g++=g++ make=make)
    [ "$what" = demo-cdc ] || pairs+=(redis-server=redis-server)
    [[ $what != tests && $what != versions ]] || pairs+=(pip3=python3-pip)
    [[ $what = demo* ]] || pairs+=(python3=python3 faketime=faketime valgrind=valgrind \
        mariadbd=mariadb-server prometheus=prometheus curl=curl chromium=chromium \
        chromedriver=chromium-driver)
    for pair in "${pairs[@]}"; do
        command -v "${pair%%=*}" >/dev/null || printf '%s\n' "${pair#*=}"
    done
    [ "$what" != demo ] || return 0
    # Its commands stand outside the path. The package is the release of this Debian: 15 in 12.
    compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || printf 'postgresql\n'
}

install_packages() {
    local packages
    mapfile -t packages < <(missing_packages)
    [ "${#packages[@]}" -gt 0 ] || return 0
    command -v apt-get >/dev/null ||
        die "missing, and this is no Debian; install them yourself: ${packages[*]}"
    say "installing Debian packages: ${packages[*]}"

    # A package must not start its service: the sandbox starts its own parts on free ports.
    local guard=/usr/sbin/policy-rc.d guarded=no
    if [ ! -e "$guard" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$guard" >/dev/null ||
            die "needs root or sudo to install: ${packages[*]}"
        as_root chmod +x "$guard"
        guarded=yes
    fi
    local status=0
    as_root apt-get update -qq || status=$?
    [ "$status" -ne 0 ] || as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${packages[@]}" || status=$?
    [ "$guarded" = no ] || as_root rm -f "$guard"
    [ "$status" -eq 0 ] || die "apt-get failed; install by hand: ${packages[*]}"
}

# stamp_is DIR TEXT: whether DIR was completed from exactly TEXT.
stamp_is() { [ "$(cat "$1/.stamp" 2>/dev/null)" = "$2" ]; }

# put_in_place FROM TO STAMP: the last step of an installation, so that it is all or nothing.
put_in_place() {
    printf '%s\n' "$3" >"$1/.stamp"
    rm -rf "$2"
    mv "$1" "$2"
}

# What is made of jars: "name:least number of jars". NAME/pom.xml says which; they go to a directory
# of that name. Those of Debezium are plugin paths, each with one connector's directory in it.
case $what in
    demo) JARS='kafka:50' ;;
    demo-cdc) JARS='kafka:50 connect:40 debezium-postgres:15' ;;
    *) JARS='kafka:50 connect:40 debezium-postgres:15 debezium-mariadb:15' ;;
esac
readonly JARS
readonly JARS_OF_TESTS='zookeeper:15'
readonly JARS_OF_VERSIONS='kafka-3.9:50 kafka-4.4:50'
# Older engines come as modules of Python: "version=wheel".
readonly OLDEST_ENGINE='24.8=chdb==3.2.0'
readonly ENGINES_BETWEEN='25.8=chdb==3.7.2 26.3=chdb-core==26.3.0'
readonly JARS_OF_REGISTRY='avro-converter:10'
readonly REGISTRY='io.apicurio:apicurio-registry-app:3.3.3:tar.gz:all'

jars_stamp() { printf 'pom %s\n' "$(sha256sum <"$here/$1/pom.xml" | cut -c1-16)"; }

# One Maven for all that is missing: it fetches what they have in common once, and at the same time.
install_jars() {
    local part missing=() fresh=$sandbox_dir/jars.new
    for part in "$@"; do
        stamp_is "$sandbox_dir/${part%:*}" "$(jars_stamp "${part%:*}")" || missing+=("$part")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    say "fetching the jars of ${missing[*]%:*} (up to 120 MB)"
    rm -rf "$fresh"
    mkdir -p "$fresh"
    {
        printf '<project><modelVersion>4.0.0</modelVersion><groupId>io.github.streamweir</groupId>'
        printf '<artifactId>sandbox</artifactId><version>1</version><packaging>pom</packaging><modules>'
        printf '<module>%s</module>' "${missing[@]%:*}"
        printf '</modules></project>'
    } >"$fresh/pom.xml"
    for part in "${missing[@]%:*}"; do
        mkdir "$fresh/$part"
        cp "$here/$part/pom.xml" "$fresh/$part/"
    done
    mvn -q -B -T4 -f "$fresh/pom.xml" dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory=jars
    for part in "${missing[@]}"; do
        put_jars_in_place "${part%:*}" "${part#*:}" "$fresh/${part%:*}/jars"
    done
    rm -rf "$fresh"
}

# put_jars_in_place NAME JARS_MIN FROM
put_jars_in_place() {
    local name=$1 jars_min=$2 from=$3 jars
    if [[ $name = *-converter ]]; then
        # It stands behind the worker's own jars, which have these too.
        rm -f "$from"/{connect-*,kafka-clients,slf4j-api}-*.jar
    fi
    if [[ $name = debezium-* ]]; then
        # The worker has these already: two copies would not fit together.
        rm -f "$from"/{connect-api,kafka-clients,slf4j-api}-*.jar
        mkdir "$from.path"
        mv "$from" "$from.path/connector"
        from=$from.path
    fi
    jars=$(find "$from" -name '*.jar' -size +0 | wc -l)
    [ "$jars" -ge "$jars_min" ] || die "only $jars jars of $name arrived; run this again"
    put_in_place "$from" "$sandbox_dir/$name" "$(jars_stamp "$name")"
}

install_clickhouse() {
    local stamp="$CHDB_PACKAGE $CHDB_VERSION" place=$sandbox_dir/clickhouse
    ! stamp_is "$place" "$stamp" || return 0
    [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] ||
        die "the ClickHouse engine is fetched for x86-64 Linux only"
    say "fetching ClickHouse's engine $CHDB_VERSION (178 MB)"
    local fresh=$sandbox_dir/clickhouse.new
    rm -rf "$fresh"
    mkdir -p "$fresh"
    # npm checks the archive against the digest that the registry states.
    (cd "$fresh" && npm pack --silent "$CHDB_PACKAGE@$CHDB_VERSION" >/dev/null && tar -xzf ./*.tgz)
    local library bytes
    library=$(find "$fresh" -name libchdb.so | head -n 1)
    [ -n "$library" ] || die "no libchdb.so in $CHDB_PACKAGE@$CHDB_VERSION"
    bytes=$(stat -c %s "$library")
    [ "$bytes" -ge "$CHDB_BYTES_MIN" ] || die "libchdb.so has only $bytes bytes; run this again"
    mv "$library" "$fresh/libchdb.so.whole"
    rm -rf "$fresh"/package "$fresh"/*.tgz
    mv "$fresh/libchdb.so.whole" "$fresh/libchdb.so"
    put_in_place "$fresh" "$place" "$stamp"
}

install_older_engine() {
    local version=${1%%=*} wheel=${1#*=} place fresh
    place=$sandbox_dir/clickhouse-$version fresh=$sandbox_dir/clickhouse-$version.new
    ! stamp_is "$place" "$wheel" || return 0
    say "fetching ClickHouse's engine $version (up to 180 MB)"
    rm -rf "$fresh"
    mkdir -p "$fresh"
    # pip checks the wheel against the digest that the registry states.
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --dest "$fresh" "$wheel"
    python3 -m zipfile -e "$fresh"/*.whl "$fresh"
    rm "$fresh"/*.whl
    compgen -G "$fresh/chdb/_chdb*.so" >/dev/null || die "no engine in $wheel"
    put_in_place "$fresh" "$place" "$wheel"
}

install_registry() {
    local stamp=$REGISTRY place=$sandbox_dir/registry fresh=$sandbox_dir/registry.new
    ! stamp_is "$place" "$stamp" || return 0
    say "fetching the schema registry $REGISTRY (159 MB)"
    rm -rf "$fresh"
    mkdir -p "$fresh"
    mvn -q -B dependency:copy -Dartifact="$REGISTRY" -DoutputDirectory="$fresh/archive"
    tar -xzf "$fresh"/archive/*.tar.gz -C "$fresh"
    rm -rf "$fresh/archive"
    [ -e "$fresh/quarkus-run.jar" ] || die "no quarkus-run.jar in $REGISTRY"
    put_in_place "$fresh" "$place" "$stamp"
}

[ "$step" = parts ] || install_packages
[ "$step" != packages ] || exit 0
# Two registries of packages: at the same time.
install_clickhouse &
engine=$!
# shellcheck disable=SC2086 # Names without spaces, one word each.
install_jars $JARS
wait "$engine"
if [ "$what" = tests ] || [ "$what" = versions ]; then
    # shellcheck disable=SC2086
    install_jars $JARS_OF_TESTS
    install_older_engine "$OLDEST_ENGINE"
fi
if [ "$what" = versions ]; then
    # shellcheck disable=SC2086
    install_jars $JARS_OF_VERSIONS
    for engine in $ENGINES_BETWEEN; do
        install_older_engine "$engine"
    done
fi
if [ "$what" = registry ]; then
    # shellcheck disable=SC2086
    install_jars $JARS_OF_REGISTRY
    install_registry
fi
