// cosign_key seal NAME N LABEL | open FILE: private keys in cosign's encrypted format, by the libraries that cosign makes
// and reads them with; the passphrase is in COSIGN_PASSWORD. seal writes NAME.key and NAME.pub, a new key for P-256; open
// prints the public key, exit 1 when the passphrase does not open the file.
package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/crypto/nacl/secretbox"
	"golang.org/x/crypto/scrypt"
)

type sealed struct {
	KDF struct {
		Name   string `json:"name"`
		Params struct {
			N int `json:"N"`
			R int `json:"r"`
			P int `json:"p"`
		} `json:"params"`
		Salt []byte `json:"salt"`
	} `json:"kdf"`
	Cipher struct {
		Name  string `json:"name"`
		Nonce []byte `json:"nonce"`
	} `json:"cipher"`
	Ciphertext []byte `json:"ciphertext"`
}

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func (s *sealed) key() *[32]byte {
	params := s.KDF.Params
	derived, err := scrypt.Key([]byte(os.Getenv("COSIGN_PASSWORD")), s.KDF.Salt, params.N, params.R, params.P, 32)
	check(err)
	return (*[32]byte)(derived)
}

func public(key crypto.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(key)
	check(err)
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func seal(name, n, label string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	check(err)
	var s sealed
	s.KDF.Name, s.Cipher.Name = "scrypt", "nacl/secretbox"
	s.KDF.Params.N, err = strconv.Atoi(n)
	check(err)
	s.KDF.Params.R, s.KDF.Params.P = 8, 1
	s.KDF.Salt, s.Cipher.Nonce = make([]byte, 32), make([]byte, 24)
	_, err = rand.Read(s.KDF.Salt)
	check(err)
	_, err = rand.Read(s.Cipher.Nonce)
	check(err)
	s.Ciphertext = secretbox.Seal(nil, der, (*[24]byte)(s.Cipher.Nonce), s.key())
	text, err := json.Marshal(s)
	check(err)
	check(os.WriteFile(name+".key", pem.EncodeToMemory(&pem.Block{Type: label, Bytes: text}), 0600))
	check(os.WriteFile(name+".pub", public(&key.PublicKey), 0644))
}

func open(file string) {
	text, err := os.ReadFile(file)
	check(err)
	block, _ := pem.Decode(bytes.TrimSpace(text))
	if block == nil {
		check(fmt.Errorf("no PEM"))
	}
	var s sealed
	check(json.Unmarshal(block.Bytes, &s))
	der, opened := secretbox.Open(nil, s.Ciphertext, (*[24]byte)(s.Cipher.Nonce), s.key())
	if !opened {
		check(fmt.Errorf("the passphrase does not open it"))
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	check(err)
	os.Stdout.Write(public(key.(crypto.Signer).Public()))
}

func main() {
	if os.Args[1] == "seal" {
		seal(os.Args[2], os.Args[3], os.Args[4])
	} else {
		open(os.Args[2])
	}
}
