// Command pki does for sandbox.sh what a shell cannot do everywhere: it makes
// the certificates and kubeconfigs, asks the API server whether it is ready,
// and starts processes that hold nothing of the caller and can end with it.
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const usage = `usage: pki init DIR                     make DIR/pki, DIR/port and DIR/kubeconfig; print the port
       pki user DIR NAME [GROUP...]     print the path of a kubeconfig for a user
       pki port                         print a port that is free now
       pki ready DIR [PATH|URL...]      exit 0 when the API server is ready and has what is at each PATH
                                        (a node has to be ready too, a CRD established), and our servers
                                        answer at each URL
       pki create DIR PATH FILE...      post each FILE, JSON or *.yaml, to the API server's PATH
       pki exec PARENT LOG CMD [ARG...] become CMD, output to LOG; ends with process PARENT unless that is 0;
                                        takes lines of NAME=VALUE for CMD's environment from stdin
       pki reap PARENT DIR              remove DIR when process PARENT is gone`

// The main goroutine stays on the main thread: the parent-death signal belongs to a thread.
func init() { runtime.LockOSThread() }

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "pki:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "init":
		return initDir(args[1])
	case len(args) >= 3 && args[0] == "user":
		file, err := user(args[1], args[2], args[3:])
		if err == nil {
			fmt.Println(file)
		}
		return err
	case len(args) == 1 && args[0] == "port":
		port, err := freePort()
		if err == nil {
			fmt.Println(port)
		}
		return err
	case len(args) >= 2 && args[0] == "ready":
		return ready(args[1], args[2:])
	case len(args) >= 4 && args[0] == "create":
		return create(args[1], args[2], args[3:])
	case len(args) >= 4 && args[0] == "exec":
		return become(args[1], args[2], args[3:])
	case len(args) == 3 && args[0] == "reap":
		return reap(args[1], args[2])
	}
	return fmt.Errorf("wrong arguments\n%s", usage)
}

func initDir(dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "pki"), 0o700); err != nil {
		return err
	}
	ca, caKey, err := issue(dir, "ca", &x509.Certificate{
		Subject:               pkix.Name{CommonName: "sandbox-ca"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}, nil, nil)
	if err != nil {
		return err
	}
	if _, _, err := issue(dir, "server", &x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		DNSNames:    []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca, caKey); err != nil {
		return err
	}
	if err := serviceAccountKeys(dir); err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	if err := write(filepath.Join(dir, "port"), []byte(strconv.Itoa(port)+"\n")); err != nil {
		return err
	}
	if err := client(dir, "admin", filepath.Join(dir, "kubeconfig"), "sandbox-admin", []string{"system:masters"}); err != nil {
		return err
	}
	fmt.Println(port)
	return nil
}

// freePort only finds a likely free port: sandbox.sh tries again with another when the server cannot bind it.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// user escapes the name, since KUBECONFIG is a list separated by colons and names have colons.
func user(dir, name string, groups []string) (string, error) {
	if err := os.MkdirAll(filepath.Join(dir, "users"), 0o700); err != nil {
		return "", err
	}
	file := filepath.Join(dir, "users", url.QueryEscape(name)+".kubeconfig")
	return file, client(dir, "", file, name, groups)
}

// client writes a kubeconfig with a new client certificate, and the certificate
// and key as files of their own too when base is not empty.
func client(dir, base, file, name string, groups []string) error {
	ca, caKey, err := loadCA(dir)
	if err != nil {
		return err
	}
	cert, key, err := issue(dir, base, &x509.Certificate{
		Subject:     pkix.Name{CommonName: name, Organization: groups},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, ca, caKey)
	if err != nil {
		return err
	}
	port, err := os.ReadFile(filepath.Join(dir, "port"))
	if err != nil {
		return err
	}
	keyPEM, err := privatePEM(key)
	if err != nil {
		return err
	}
	b64 := base64.StdEncoding.EncodeToString
	return write(file, fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: sandbox
contexts:
- name: sandbox
  context:
    cluster: sandbox
    user: %[1]q
clusters:
- name: sandbox
  cluster:
    server: https://127.0.0.1:%[2]s
    certificate-authority-data: %[3]s
users:
- name: %[1]q
  user:
    client-certificate-data: %[4]s
    client-key-data: %[5]s
`, name, strings.TrimSpace(string(port)), b64(certPEM(ca)), b64(certPEM(cert)), b64(keyPEM)))
}

// issue signs the template with a new key; without a parent it signs itself.
func issue(dir, base string, template, parent *x509.Certificate, signer crypto.Signer) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if parent == nil {
		parent, signer = template, key
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, nil, err
	}
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().AddDate(1, 0, 0)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil || base == "" {
		return cert, key, err
	}
	keyPEM, err := privatePEM(key)
	if err != nil {
		return nil, nil, err
	}
	if err := write(filepath.Join(dir, "pki", base+".key"), keyPEM); err != nil {
		return nil, nil, err
	}
	return cert, key, write(filepath.Join(dir, "pki", base+".crt"), certPEM(cert))
}

func serviceAccountKeys(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	private, err := privatePEM(key)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	if err := write(filepath.Join(dir, "pki", "sa.key"), private); err != nil {
		return err
	}
	return write(filepath.Join(dir, "pki", "sa.pub"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
}

func loadCA(dir string) (*x509.Certificate, crypto.Signer, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "pki", "ca.crt"), filepath.Join(dir, "pki", "ca.key"))
	if err != nil {
		return nil, nil, err
	}
	return pair.Leaf, pair.PrivateKey.(crypto.Signer), nil
}

func certPEM(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

func privatePEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), err
}

// write replaces a file in one step, so that no reader sees half of it.
func write(file string, data []byte) error {
	if err := os.WriteFile(file+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// api is a client of the API server with the rights of an administrator, and the server's address.
func api(dir string) (*http.Client, string, error) {
	ca, _, err := loadCA(dir)
	if err != nil {
		return nil, "", err
	}
	admin, err := tls.LoadX509KeyPair(filepath.Join(dir, "pki", "admin.crt"), filepath.Join(dir, "pki", "admin.key"))
	if err != nil {
		return nil, "", err
	}
	port, err := os.ReadFile(filepath.Join(dir, "port"))
	if err != nil {
		return nil, "", err
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	client := http.Client{
		Timeout:   2 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{admin}}},
	}
	return &client, "https://127.0.0.1:" + strings.TrimSpace(string(port)), nil
}

func ready(dir string, paths []string) error {
	client, server, err := api(dir)
	if err != nil {
		return err
	}
	// The namespace is made shortly after the server calls itself ready.
	for _, path := range append([]string{"/readyz", "/api/v1/namespaces/default"}, paths...) {
		address := path
		if strings.HasPrefix(path, "/") {
			address = server + path
		}
		response, err := client.Get(address)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", path, response.Status)
		}
		switch filepath.Dir(path) {
		case "/api/v1/nodes":
			err = hasCondition(body, "Ready")
		case "/apis/apiextensions.k8s.io/v1/customresourcedefinitions":
			err = hasCondition(body, "Established")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

func hasCondition(body []byte, wanted string) error {
	var object struct {
		Spec struct {
			Taints []struct{ Key, Effect string }
		}
		Status struct {
			Conditions []struct{ Type, Status string }
		}
	}
	if err := json.Unmarshal(body, &object); err != nil {
		return err
	}
	if len(object.Spec.Taints) > 0 {
		return fmt.Errorf("has taints: %v", object.Spec.Taints)
	}
	for _, condition := range object.Status.Conditions {
		if condition.Type == wanted && condition.Status == "True" {
			return nil
		}
	}
	return fmt.Errorf("not %s: %v", wanted, object.Status.Conditions)
}

func create(dir, path string, files []string) error {
	client, server, err := api(dir)
	if err != nil {
		return err
	}
	// On a busy machine a large CRD takes its time.
	client.Timeout = time.Minute
	results := make(chan error)
	for _, file := range files {
		go func() {
			err := post(client, server+path, file)
			if err != nil {
				err = fmt.Errorf("%s: %s: %w", path, file, err)
			}
			results <- err
		}()
	}
	for range files {
		err = errors.Join(err, <-results)
	}
	return err
}

func post(client *http.Client, address, file string) error {
	data, err := os.Open(file)
	if err != nil {
		return err
	}
	defer data.Close()
	kind := "application/json"
	if filepath.Ext(file) == ".yaml" {
		kind = "application/yaml"
	}
	response, err := client.Post(address, kind, data)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusCreated {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	return err
}

func become(parent, log string, command []string) error {
	if err := dieWith(parent, syscall.SIGKILL); err != nil {
		return err
	}
	// By stdin, since a token among the arguments would be everybody's to read.
	settings, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	environment := os.Environ()
	for line := range strings.Lines(string(settings)) {
		if line = strings.TrimSpace(line); line != "" {
			environment = append(environment, line)
		}
	}
	// A terminal's signals are not for the servers.
	syscall.Setsid()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	for fd, file := range []*os.File{null, out, out} {
		if err := syscall.Dup3(int(file.Fd()), fd, 0); err != nil {
			return err
		}
	}
	// A caller that reads our output through a pipe must see its end, whatever number the pipe has.
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, entry := range open {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
	return syscall.Exec(command[0], command, environment)
}

func reap(parent, dir string) error {
	gone := make(chan os.Signal, 1)
	signal.Notify(gone, syscall.SIGTERM)
	syscall.Setsid()
	if dieWith(parent, syscall.SIGTERM) == nil {
		<-gone
	}
	// The servers die of the same cause at the same time; one of them may still write a last file.
	for range 50 {
		os.RemoveAll(dir)
		time.Sleep(100 * time.Millisecond)
		if _, err := os.Lstat(dir); os.IsNotExist(err) {
			return nil
		}
	}
	return fmt.Errorf("%s: cannot remove it", dir)
}

// dieWith asks the kernel for a signal at the death of the parent, which survives exec.
func dieWith(parent string, sig syscall.Signal) error {
	pid, err := strconv.Atoi(parent)
	if err != nil || pid == 0 {
		return err
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_PDEATHSIG, uintptr(sig), 0); errno != 0 {
		return errno
	}
	if os.Getppid() != pid {
		return fmt.Errorf("process %d is gone already", pid)
	}
	return nil
}
