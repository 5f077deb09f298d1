// Package function receives GitHub's webhooks and trusts only those that are signed with the secret.
package function

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// GitHub sends at most 25 MB.
const largestBody = 25 << 20

const howToSet = `no secret is set, so no event can be trusted. Choose one, give it to GitHub, and:
  hob secret set webhook-secret
  echo 'secrets = ["webhook-secret"]' >> hob.toml
  hob deploy
`

// Handle answers a GET with its state and takes an event by POST.
func Handle(w http.ResponseWriter, r *http.Request) {
	secret, err := readSecret()
	switch {
	case err != nil:
		http.Error(w, "the secret cannot be read", http.StatusInternalServerError)
	case r.Method == http.MethodGet && len(secret) == 0:
		fmt.Fprintf(w, "webhook waits: %s", howToSet)
	case r.Method == http.MethodGet:
		fmt.Fprintln(w, "webhook is ready")
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", "GET, POST")
		http.Error(w, "send events by POST", http.StatusMethodNotAllowed)
	case len(secret) == 0:
		http.Error(w, howToSet, http.StatusNotImplemented)
	default:
		receive(w, r, secret)
	}
}

// It is read at each call: a changed secret counts at once.
func readSecret() ([]byte, error) {
	secret, err := os.ReadFile(filepath.Join(os.Getenv("HOB_SECRETS"), "webhook-secret"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	// `echo secret | hob secret set …` leaves a line end that GitHub's form does not have.
	return []byte(strings.TrimRight(string(secret), "\r\n")), err
}

func receive(w http.ResponseWriter, r *http.Request, secret []byte) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, largestBody))
	if err != nil {
		http.Error(w, "the event is too large or was cut off", http.StatusBadRequest)
		return
	}
	if !signed(body, r.Header.Get("X-Hub-Signature-256"), secret) {
		http.Error(w, "the signature does not fit", http.StatusUnauthorized)
		return
	}
	var event struct {
		Action     string
		Repository struct {
			FullName string `json:"full_name"`
		}
		Sender struct{ Login string }
	}
	if err := json.Unmarshal(body, &event); err != nil {
		http.Error(w, "the event is no JSON", http.StatusBadRequest)
		return
	}
	line := fmt.Sprintf("event %q action %q in %q by %q", r.Header.Get("X-GitHub-Event"),
		event.Action, event.Repository.FullName, event.Sender.Login)
	fmt.Println(line) // to the log: hob logs webhook
	fmt.Fprintln(w, line)
}

// Compares in constant time, so that an answer's delay tells nothing.
func signed(body []byte, header string, secret []byte) bool {
	given, err := hex.DecodeString(strings.TrimPrefix(header, "sha256="))
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write(body)
	return hmac.Equal(given, mac.Sum(nil))
}
