#!/bin/sh
# First step of the filter image: installs the packages and refuses versions with known holes.
set -eu

export DEBIAN_FRONTEND=noninteractive
# No daemon may start in the build.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get update -q
apt-get install -qy --no-install-recommends rspamd clamav clamav-daemon clamav-freshclam clamdscan valkey-server \
    unbound busybox ca-certificates dns-root-data icu-devtools binutils patch

at_least() {
    version=$(dpkg-query -W -f '${Version}' "$1")
    dpkg --compare-versions "$version" ge "$2" || {
        echo "$1 is $version, the filter needs at least $2" >&2
        exit 1
    }
}
at_least rspamd 4.1.5
at_least clamav-daemon 1.4.6
at_least clamav-freshclam 1.4.6
at_least libclamav12 1.4.6
