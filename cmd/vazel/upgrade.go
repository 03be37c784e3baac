package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/gateway"
	"github.com/vazel-gateway/vazel/gateway/admin"
)

// programPath is where the running program was started from. A link there is
// followed anew at each upgrade.
func programPath() (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	if path, err := exec.LookPath(os.Args[0]); err == nil {
		if path, err = filepath.Abs(path); err == nil && samePath(path, "/proc/self/exe") {
			return path, nil
		}
	}
	return exe, nil
}

func samePath(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// upgrader has another program take over.
type upgrader struct {
	log      *zap.Logger
	gateway  *gateway.Gateway
	reloader *reloader
	admin    *admin.Server
	path     string // of the program
	leave    func() // ends this process, once what is under way is done

	mu   sync.Mutex
	done bool
}

// upgrade returns when the program that is on disk now serves instead of this
// one. If it does not get that far, nothing has changed.
func (u *upgrader) upgrade(limit time.Duration) (pid int, err error) {
	if !u.mu.TryLock() {
		return 0, errors.New("an upgrade is under way")
	}
	defer u.mu.Unlock()
	if u.done {
		return 0, errors.New("another process has taken over already")
	}
	pid, err = u.replace(limit)
	if err != nil {
		u.log.Error("upgrade refused; this process serves on", zap.String("program", u.path), zap.Error(err))
		return 0, err
	}
	u.done = true
	daemon.SdNotify(false, fmt.Sprintf("MAINPID=%d", pid))
	u.log.Info("another process has taken over; this one ends with its connections", zap.Int("pid", pid))
	u.leave()
	return pid, nil
}

func (u *upgrader) replace(limit time.Duration) (int, error) {
	if os.Getpid() == 1 {
		return 0, errors.New("this process is the first one of its container, which would end with it; replace the container")
	}
	start := time.Now()
	u.reloader.mu.Lock() // the sockets stay as they are
	defer u.reloader.mu.Unlock()
	h, err := u.gateway.Handover()
	if err != nil {
		return 0, err
	}
	defer h.Close()
	if err := h.AddListener(u.admin.Listener()); err != nil {
		return 0, err
	}
	child, err := h.Start(u.path, os.Args, os.Environ())
	if err != nil {
		return 0, fmt.Errorf("the new program can't be started: %w", err)
	}
	ended := make(chan struct{})
	go func() { // also so that it leaves no zombie
		defer close(ended)
		child.Wait()
	}()
	if err := h.Await(limit); err != nil {
		child.Kill()
		<-ended
		return 0, fmt.Errorf("the new program does not take over: %w", err)
	}
	h.Commit()
	u.admin.Retire()
	u.log.Info("sockets left to another process", zap.Int("pid", child.Pid), zap.Duration("took", time.Since(start)))
	return child.Pid, nil
}

// onSignal upgrades at each signal until ctx ends.
func (u *upgrader) onSignal(ctx context.Context, usr2 <-chan os.Signal) {
	for {
		select {
		case <-usr2:
			u.upgrade(admin.UpgradeAtMost)
		case <-ctx.Done():
			return
		}
	}
}

func upgradeCommand(ctx context.Context, args []string, out, errs io.Writer) error {
	f := flag.NewFlagSet("upgrade", flag.ContinueOnError)
	flags := newAdminFlags(f)
	limit := f.Duration("timeout", admin.UpgradeAtMost, "how long the new program may take to become ready")
	if err := parse(f, args, errs); err != nil {
		return err
	}
	var answer struct {
		Result, Error string
		PID           int
	}
	if err := flags.ask(ctx, http.MethodPost, "/-/upgrade?timeout="+limit.String(), &answer); err != nil {
		return err
	}
	if answer.Result != "upgraded" {
		fmt.Fprintln(errs, answer.Error)
		fmt.Fprintln(errs, "refused: the running program serves on")
		return errFailed
	}
	fmt.Fprintf(out, "upgraded: process %d serves\n", answer.PID)
	return nil
}
