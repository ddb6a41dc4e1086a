package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const (
	startDeadline = 60 * time.Second
	pollInterval  = 50 * time.Millisecond

	issuer           = "https://kubernetes.default.svc.cluster.local"
	serviceClusterIP = "10.96.0.1"
	serviceIPRange   = "10.96.0.0/24"
)

// errAskedToEnd is the one good reason to end: standard input closed, or a signal.
var errAskedToEnd = errors.New("asked to end (standard input closed, or a signal)")

// up starts a control plane below --dir, says on stdout how to reach it, and ends it when standard input
// closes: a caller that holds the other end of that pipe has nothing to clean up, however it dies itself.
func up(args []string) error {
	flags := flag.NewFlagSet("control-plane up", flag.ExitOnError)
	dirFlag := flags.String("dir", "", "directory for all state: certificates, data, logs (created if missing)")
	remove := flags.Bool("remove", false, "remove that directory in the end")
	_ = flags.Parse(args)
	if *dirFlag == "" || flags.NArg() > 0 {
		return errors.New(usage)
	}
	dir, err := filepath.Abs(*dirFlag)
	if err != nil {
		return err
	}
	unlock, err := claim(dir)
	if err != nil {
		return err
	}
	defer unlock()
	if *remove {
		defer os.RemoveAll(dir)
	}

	// The kernel sends a child its Pdeathsig when the thread that forked it ends, so every child is
	// started from here and this thread lives as long as the process.
	runtime.LockOSThread()
	// A reader that took the JSON line and closed the pipe must not end the control plane.
	signal.Ignore(syscall.SIGPIPE)

	ctx, end := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		end(errAskedToEnd)
	}()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		end(errAskedToEnd)
	}()

	// Somebody else may bind a port between our choosing it and the server's binding it. Once is bad luck.
	err = run(ctx, dir)
	if errors.Is(err, errPortTaken) {
		err = run(ctx, dir)
	}
	return err
}

// claim creates dir and locks it for as long as this process lives: two control planes over one etcd
// directory would destroy each other's data.
func claim(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("%s is in use by another control plane (%w)", dir, err)
	}
	return func() { _ = lock.Close() }, nil
}

// run is one life of a control plane: it returns nil only after it was ready and then asked to end.
// Whatever the reason, no child outlives it.
func run(ctx context.Context, dir string) error {
	// Every start is a new cluster: data of an earlier one would not fit the new keys.
	if err := os.RemoveAll(filepath.Join(dir, "etcd")); err != nil {
		return err
	}
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	etcdURL := fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	peerURL := fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	server := fmt.Sprintf("https://127.0.0.1:%d", ports[2])

	pki, err := newPKI(dir)
	if err != nil {
		return fmt.Errorf("making certificates: %w", err)
	}
	// Tokens rather than client certificates: they go into a header, so any HTTP client can use them.
	adminToken, managerToken := rand.Text(), rand.Text()
	tokens := filepath.Join(dir, "tokens.csv")
	lines := fmt.Sprintf("%s,admin,admin,system:masters\n%s,system:kube-controller-manager,system:kube-controller-manager\n",
		adminToken, managerToken)
	if err := os.WriteFile(tokens, []byte(lines), 0o600); err != nil {
		return err
	}
	adminConfig, err := writeKubeconfig(dir, "admin", server, pki.caPEM, adminToken)
	if err != nil {
		return err
	}
	managerConfig, err := writeKubeconfig(dir, "kube-controller-manager", server, pki.caPEM, managerToken)
	if err != nil {
		return err
	}

	family := newFamily(ctx, dir)
	defer family.kill()

	// The data does not outlive the run, so nothing is gained by waiting for the disk.
	if err := family.start("etcd",
		"--data-dir", filepath.Join(dir, "etcd"),
		"--unsafe-no-fsync",
		"--log-level", "error",
		"--listen-client-urls", etcdURL, "--advertise-client-urls", etcdURL,
		"--listen-peer-urls", peerURL, "--initial-advertise-peer-urls", peerURL,
		"--initial-cluster", "default="+peerURL,
	); err != nil {
		return err
	}
	// Request limits, priority-and-fairness and admission stay at their defaults: tests and benches are
	// to meet the server that users run. (The admin, system:masters, is exempt from fairness anyway.)
	if err := family.start("kube-apiserver",
		"--etcd-servers", etcdURL,
		"--bind-address", "127.0.0.1", "--secure-port", fmt.Sprint(ports[2]),
		"--cert-dir", dir, "--tls-cert-file", pki.servingCert, "--tls-private-key-file", pki.servingKey,
		// The `kubernetes` Service cannot have a loopback address as its endpoint.
		"--endpoint-reconciler-type", "none",
		"--authorization-mode", "Node,RBAC",
		"--token-auth-file", tokens,
		"--service-account-issuer", issuer,
		"--service-account-key-file", pki.serviceAccountKey, "--service-account-signing-key-file", pki.serviceAccountKey,
		"--service-cluster-ip-range", serviceIPRange,
		"--allow-privileged",
		"--profiling=false",
	); err != nil {
		return err
	}

	starting, stop := context.WithTimeoutCause(family.ctx, startDeadline,
		fmt.Errorf("not ready within %s; the logs are in %s", startDeadline, dir))
	defer stop()
	api := newAPI(server, adminToken, pki.ca)
	if err := api.waitFor(starting, "/readyz"); err != nil {
		return err
	}
	// Only now: it gives an API server that does not answer ten seconds, then exits.
	if err := family.start("kube-controller-manager",
		"--kubeconfig", managerConfig,
		"--secure-port", "0",
		"--leader-elect=false",
		"--use-service-account-credentials",
		"--service-account-private-key-file", pki.serviceAccountKey,
		"--root-ca-file", pki.caCert,
		"--service-cluster-ip-range", serviceIPRange,
		// The default, 20 requests a second for each controller, makes a namespace's deletion slow.
		"--kube-api-qps", "1000", "--kube-api-burst", "2000",
		"--profiling=false",
	); err != nil {
		return err
	}
	// The service-account controller made it, so the controllers run.
	if err := api.waitFor(starting, "/api/v1/namespaces/default/serviceaccounts/default"); err != nil {
		return err
	}

	// A closed stdout is the caller's choice, not an error.
	_ = json.NewEncoder(os.Stdout).Encode(struct {
		Kubeconfig string `json:"kubeconfig"`
		Server     string `json:"server"`
		Token      string `json:"token"`
		CA         string `json:"ca"`
	}{adminConfig, server, adminToken, pki.caCert})

	<-family.ctx.Done()
	if err := context.Cause(family.ctx); !errors.Is(err, errAskedToEnd) {
		return err
	}
	return nil
}

// freePorts returns n different free loopback ports; it holds them all until the last is chosen.
func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer listener.Close()
		ports[i] = listener.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

// writeKubeconfig writes DIR/<user>.kubeconfig, complete in itself, so that it works when copied elsewhere.
func writeKubeconfig(dir, user, server string, caPEM []byte, token string) (string, error) {
	const name = "control-plane"
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: caPEM}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: user}
	config.CurrentContext = name
	path := filepath.Join(dir, user+".kubeconfig")
	return path, clientcmd.WriteToFile(*config, path)
}

// api asks the API server for things as the admin.
type api struct {
	server string
	token  string
	http   *http.Client
}

func newAPI(server, token string, ca *x509.Certificate) api {
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	// A transport of its own: a proxy from the environment must not come between us and loopback.
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	return api{server, token, &http.Client{Transport: transport, Timeout: 5 * time.Second}}
}

// waitFor returns once path answers 200, or with the cause of ctx's end.
func (a api) waitFor(ctx context.Context, path string) error {
	for !a.ok(ctx, path) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", path, context.Cause(ctx))
		case <-time.After(pollInterval):
		}
	}
	return nil
}

func (a api) ok(ctx context.Context, path string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.server+path, nil)
	if err != nil {
		return false
	}
	request.Header.Set("Authorization", "Bearer "+a.token)
	response, err := a.http.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode == http.StatusOK
}
