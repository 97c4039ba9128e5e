#!/bin/sh
# Second step of the operator's image: puts the files that the operator needs under DIRECTORY, and nothing else.
# Usage: assemble.sh DIRECTORY      (run as root where install.sh ran)
set -eu

out=$1
build=/build
python=/usr/bin/python3.14
standard=/usr/lib/python3.14
listing=$build/files

mkdir -p "$out/usr/bin" "$out/usr/lib" "$out/usr/lib64" "$out/etc/ssl/certs" "$out/usr/lib/ssl" "$out/tmp" "$out/proc" \
    "$out/sys" "$out/dev"
for directory in bin lib lib64; do
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

copy $python $standard /etc/ssl/certs/ca-certificates.crt /etc/ssl/openssl.cnf
ln -s python3.14 "$out/usr/bin/python3"
ln -s /etc/ssl/certs "$out/usr/lib/ssl/certs"
ln -s /etc/ssl/openssl.cnf "$out/usr/lib/ssl/openssl.cnf"
(cd "$out$standard" && rm -rf config-* ensurepip idlelib lib2to3 pydoc_data test tkinter turtledemo \
    sitecustomize.py EXTERNALLY-MANAGED)
cp -a "$build/site" "$out/usr/lib/mailfilter-operator"
# Scripts of the wheels; the Kubernetes client's asynchronous twin, which nothing here imports.
rm -rf "$out/usr/lib/mailfilter-operator/bin" "$out/usr/lib/mailfilter-operator/kubernetes/aio"

find "$out$standard" "$out/usr/lib/mailfilter-operator" -name '*.so' -exec ldd $python {} + |
    awk '$3 ~ /^\// {print $3} $1 ~ /^\// && NF == 2 {print $1}' | sort -u |
    while read -r library; do
        case $library in
            "$out"*) ;; # a wheel's own
            *) copy "/usr${library#/usr}" ;; # only /usr holds files; /lib and /lib64 are links to it
        esac
    done

# The root is read-only when it runs: byte code now or never. Unchecked, so that no start reads the sources' times.
find "$out" -name __pycache__ -prune -exec rm -rf {} +
$python -m compileall -q -j 0 --invalidation-mode unchecked-hash -s "$out" "$out$standard" \
    "$out/usr/lib/mailfilter-operator"
# The client loads its generated types only when they are named, and the operator works with plain objects.
rm -rf "$out/usr/lib/mailfilter-operator/kubernetes/client/models/__pycache__" \
    "$out/usr/lib/mailfilter-operator/kubernetes/client/api/__pycache__"

cp "$build/passwd" "$build/group" "$out/etc/"
sort -u "$listing" | while read -r path; do
    find "$path" ! -type d
done | xargs -r dpkg-query --search 2>/dev/null | sed 's/: .*//; s/:.*//' | sort -u | while read -r package; do
    cp -a -L --parents "/usr/share/doc/$package/copyright" "$out"
done
cp -a --parents /usr/share/common-licenses "$out"
chmod 1777 "$out/tmp"
find "$out" -type f -perm /7000 -exec chmod ug-s,-t {} +

# Everything that it imports is there.
chroot "$out" /usr/bin/python3 -c \
    'import sys; sys.path.insert(0, "/usr/lib/mailfilter-operator"); import mailfilter_operator.__main__, ssl'
