#!/bin/sh
# Makes the certificates of the tests again: an authority, two of servers on localhost, one of the client carl.
set -eu
cd "$(dirname "$0")"
new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"; }
new_key ca
openssl req -x509 -key ca.key -days 36500 -subj "/CN=tests of FunnelSQL" -out ca.crt
for name in server other carl; do
  new_key "$name"
  common=$name
  [ "$name" = carl ] || common=localhost
  openssl req -new -key "$name.key" -subj "/CN=$common" -out "$name.csr"
  printf 'subjectAltName=DNS:localhost' > san.txt
  openssl x509 -req -in "$name.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 36500 -extfile san.txt -out "$name.crt"
done
rm -f ./*.csr ./*.srl san.txt ca.key
