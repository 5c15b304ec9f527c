// Answers each line of stdin with a line: the functions of the Go client, for the published vectors.
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

func number(word []byte) uint64 {
	value, err := strconv.ParseUint(string(word), 10, 64)
	if err != nil {
		panic(err)
	}
	return value
}

func sessionOf(words [][]byte) *Session {
	return &Session{suites[string(words[0])], string(words[1]), words[2], words[3], string(words[4])}
}

func pinOf(words [][]byte) Pin { return Pin{string(words[1]), words[2]} }

func answer(command string, words [][]byte) ([][]byte, error) {
	suite := suites[string(words[0])]
	switch command {
	case "fingerprint":
		var hardware []Hardware
		for i := 1; i < len(words); i += 2 {
			hardware = append(hardware, Hardware{string(words[i]), string(words[i+1])})
		}
		return [][]byte{encode(fingerprint(string(words[0]), hardware))}, nil
	case "public":
		return [][]byte{publicKey(suite, words[1])}, nil
	case "shared":
		secret, err := sharedSecret(suite, words[1], words[2])
		return [][]byte{secret}, err
	case "hello":
		return [][]byte{hello(suite, string(words[1]), words[2])}, nil
	case "schedule":
		id, expiresIn := string(words[4]), uint32(number(words[5]))
		keys := schedule(suite, pinOf(words), words[3], id, expiresIn, words[6], words[7], words[8])
		return [][]byte{keys.th, keys.prk1, keys.prk2, keys.helloKey, keys.sessionKey, keys.sessionIV}, nil
	case "welcome":
		session, err := welcome(suite, pinOf(words), words[3], words[4])
		if err != nil {
			return nil, err
		}
		return [][]byte{[]byte(session.id), session.key, session.iv, []byte(session.token)}, nil
	case "request":
		request := sessionOf(words).seal(number(words[5]), string(words[6]), words[7], words[8])
		return [][]byte{request.body, request.hash}, nil
	case "reply":
		request := &Request{seq: number(words[5]), op: string(words[6]), hash: words[7]}
		plaintext, err := sessionOf(words).open(request, words[8])
		return [][]byte{plaintext}, err
	case "verdict":
		reply, _ := parseReply(words[0])
		return [][]byte{encode(verdict(reply))}, nil
	}
	panic(command)
}

func TestMain(*testing.M) {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		command, rest, _ := strings.Cut(lines.Text(), " ")
		var words [][]byte
		for _, word := range strings.Split(rest, " ") {
			bytes, err := hex.DecodeString(strings.TrimPrefix(word, "-"))
			if err != nil {
				panic(err)
			}
			words = append(words, bytes)
		}
		results, err := answer(command, words)
		if err != nil {
			fmt.Println("refused")
			continue
		}
		texts := make([]string, len(results))
		for i, result := range results {
			texts[i] = hex.EncodeToString(result)
		}
		fmt.Println(strings.Join(texts, " "))
	}
}
