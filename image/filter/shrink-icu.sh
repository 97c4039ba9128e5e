#!/bin/sh
# Replaces ICU's data library by one without the data of languages and countries (names of currencies, units, time
# zones): 33 MB become 13. rspamd uses what stays: character sets, normalisation, IDNA, word breaks, confusables,
# transliteration and the root collation.
# Usage: shrink-icu.sh LIBRARY-DIRECTORY
set -eu

library=$(find "$1" -name 'libicudata.so.*[0-9].[0-9]*')
soname=$(basename "${library%.*}")
version=${soname##*.}
work=$(mktemp -d)
cd "$work"

# The data is one object in the library: its address and its size are in the symbol table.
readelf -Ws "$library" | awk -v name="icudt${version}_dat" '$8 == name {print $2, $3; exit}' >symbol
read -r address size <symbol
data=icudt${version}l.dat
dd if="$library" of="$data" iflag=skip_bytes,count_bytes skip=$((0x$address)) count=$((size)) bs=1M status=none
icupkg -l "$data" | awk -F/ '
    NF == 2 && $1 ~ /^(curr|lang|region|unit|zone|rbnf)$/ {print}
    NF == 2 && $1 == "coll" && $2 !~ /^(root|pool|res_index|ucadata|supplementalData)/ {print}
    NF == 1 && /^[a-z][a-z][a-z]?(_[A-Za-z0-9_]*)?\.res$/ {print}' >remove.txt
icupkg -r remove.txt "$data"
genccode --object --entrypoint "icudt$version" --match-arch "$library" "$data"
ld -shared -z noexecstack -Bsymbolic -soname "$soname" -o "$soname" ./*.o
strip --strip-unneeded "$soname"
cp "$soname" "$library"
rm -rf "$work"
