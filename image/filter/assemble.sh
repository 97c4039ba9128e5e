#!/bin/sh
# Second step of the filter image: puts the files that the containers need under DIRECTORY, and nothing else.
# Usage: assemble.sh DIRECTORY      (run as root where install.sh ran)
set -eu

out=$1
build=/build
programs="/usr/bin/rspamd /usr/bin/rspamadm /usr/bin/rspamc /usr/sbin/clamd /usr/bin/freshclam /usr/bin/clamdscan
    /usr/bin/clamscan /usr/bin/valkey-server /usr/bin/valkey-cli /usr/sbin/unbound /usr/bin/busybox"
listing=$build/files
libraries=$(dirname "$(find /usr/lib -name libclamav.so.12)")

# clamav.lua stops with an error, and the mail passes, when clamd answers neither OK nor FOUND. The patch makes that a
# failed scan, and notes question and answer for our own rule (mailfilter_antivirus.lua).
patch --directory=/ --strip=1 --forward --batch --fuzz=0 <"$build/clamav-lua-failclosed.patch"
# settings.lua can keep a mail from being scanned. The patch takes that out of what it applies.
patch --directory=/ --strip=1 --forward --batch --fuzz=0 <"$build/settings-lua-failclosed.patch"
cp "$build/mailfilter.lua" /usr/share/rspamd/plugins/
cp "$build/mailfilter_antivirus.lua" "$build/mailfilter_settings.lua" "$build/mailfilter_signing.lua" /usr/share/rspamd/lualib/
cp "$build/mailfilter.conf" /etc/rspamd/modules.d/
# The templates in rspamd's own configuration are expanded here, once and for all, so that rspamd can run with
# --skip-template: in what a user writes, a template mark is text.
grep -rlE '\{[%=#]' /etc/rspamd >"$build/templates"
while read -r file; do
    rspamadm template "$file" >"$build/expanded"
    cat "$build/expanded" >"$file"
done <"$build/templates"
if grep -rnE '\{[%=#]' /etc/rspamd >&2; then
    echo "templates that were not expanded" >&2
    exit 1
fi

sh "$build/shrink-icu.sh" "$libraries"
sh "$build/stub-python.sh" /usr/sbin/unbound

mkdir -p "$out/usr/bin" "$out/usr/sbin" "$out/usr/lib64"
for directory in bin sbin lib lib64; do
    ln -s "usr/$directory" "$out/$directory"
done

# copies files, links followed, to the same path below $out, and notes them for the copyright files
copy() {
    for path in "$@"; do
        mkdir -p "$out$(dirname "$path")"
        cp -a -L "$path" "$out$path"
        readlink -f "$path" >>"$listing"
    done
}

# shellcheck disable=SC2086
copy $programs /usr/lib/rspamd/*.so
# shellcheck disable=SC2086
ldd $programs /usr/lib/rspamd/*.so | awk '$3 ~ /^\// {print $3} $1 ~ /^\// && NF == 2 {print $1}' | sort -u |
    while read -r library; do
        # Only /usr holds files; /lib and /lib64 are links to it.
        copy "/usr${library#/usr}"
    done

# Character sets that attachments use; ClamAV converts them with iconv.
copy "$libraries/gconv"
copy /usr/share/rspamd /etc/rspamd /usr/share/publicsuffix/effective_tld_names.dat /usr/share/dns/root.key \
    /etc/ssl/certs/ca-certificates.crt /etc/ssl/openssl.cnf
find "$out/etc/rspamd" -name '*.example' -delete
rm -rf "$out/usr/share/rspamd/www/README.md"
mkdir -p "$out/usr/lib/ssl"
ln -s /etc/ssl/certs "$out/usr/lib/ssl/certs"
ln -s /etc/ssl/openssl.cnf "$out/usr/lib/ssl/openssl.cnf"

for applet in $(busybox --list); do
    [ -e "$out/usr/bin/$applet" ] || [ -e "$out/usr/sbin/$applet" ] || ln -s busybox "$out/usr/bin/$applet"
done

mkdir -p "$out/usr/lib/mailfilter" "$out/usr/share/mailfilter/hyperscan" "$out/etc/clamav"
cp -R "$build"/bin/* "$out/usr/lib/mailfilter/"
cp "$build/builtin.ndb" "$out/usr/share/mailfilter/"
# Harmless files in which a database must find nothing (prove-database).
mkdir "$out/usr/share/mailfilter/clean"
for path in "$build"/clean/*; do
    name=${path##*/}
    case $name in
        *.base64) base64 -d "$path" >"$out/usr/share/mailfilter/clean/${name%.base64}" ;;
        *) cp "$path" "$out/usr/share/mailfilter/clean/" ;;
    esac
done
cp "$build/clamd.conf" "$out/etc/clamav/"
cp "$build/passwd" "$build/group" "$build/nsswitch.conf" "$out/etc/"

sh "$build/compile-patterns.sh" "$out/usr/share/mailfilter/hyperscan"

# Who made what: the copyright file and the version of every package of which a file is in the image.
sort -u "$listing" | while read -r path; do
    find "$path" ! -type d
done | xargs -r dpkg-query --search 2>/dev/null | sed 's/: .*//; s/:.*//' | sort -u >"$build/packages"
while read -r package; do
    cp -a -L --parents "/usr/share/doc/$package/copyright" "$out"
    dpkg-query -W -f '${Package} ${Version}\n' "$package"
done <"$build/packages" >"$out/usr/share/mailfilter/packages"
cp -a --parents /usr/share/common-licenses "$out"

mkdir -p "$out/var/lib/clamav" "$out/var/lib/rspamd" "$out/run/clamav" "$out/run/mailfilter" "$out/tmp" \
    "$out/etc/mailfilter/candidate" "$out/etc/unbound" "$out/proc" "$out/sys" "$out/dev"
ln -s ../run "$out/var/run"
# An emptyDir mounted here belongs to the pod's group; without a mount the directories are our user's.
chown 11333:11333 "$out/var/lib/clamav" "$out/var/lib/rspamd" "$out/run/clamav" "$out/run/mailfilter"
chmod 1777 "$out/tmp"
if find "$out" -xtype l ! -path '*/ssl/*' | grep . >&2; then
    echo "links that lead nowhere" >&2
    exit 1
fi
find "$out" -type f -perm /7000 -exec chmod ug-s,-t {} +
