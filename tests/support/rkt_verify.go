// rkt_verify KEYS SIGNATURE FILE: the answer of the library that rkt verifies App Container Images with, asked as rkt's
// keystore asks it: armored keys, a detached signature armored or binary. Prints the primary key's fingerprint; exit 1
// with the reason when it refuses.
package main

import (
	"bytes"
	"fmt"
	"os"

	"golang.org/x/crypto/openpgp"
)

func verify(keys, signature, file string) (*openpgp.Entity, error) {
	armored, err := os.ReadFile(keys)
	if err != nil {
		return nil, err
	}
	ring, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(armored))
	if err != nil {
		return nil, err
	}
	made, err := os.ReadFile(signature)
	if err != nil {
		return nil, err
	}
	content, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(made, []byte("-----")) {
		return openpgp.CheckArmoredDetachedSignature(ring, content, bytes.NewReader(made))
	}
	return openpgp.CheckDetachedSignature(ring, content, bytes.NewReader(made))
}

func main() {
	signer, err := verify(os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Printf("%X\n", signer.PrimaryKey.Fingerprint)
}
