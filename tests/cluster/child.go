package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
)

// errPortTaken is the one early death worth another try.
var errPortTaken = errors.New("a port was taken by somebody else")

// family is the servers of one control plane: this very binary, run again under each server's name.
// They live and die together.
type family struct {
	// ctx ends when the caller's does or as soon as one child dies; its cause says which.
	ctx context.Context

	end  context.CancelCauseFunc
	dir  string
	cmds []*exec.Cmd
	dead sync.WaitGroup
}

func newFamily(ctx context.Context, dir string) *family {
	ctx, end := context.WithCancelCause(ctx)
	return &family{ctx: ctx, end: end, dir: dir}
}

// start runs the program with its output in DIR/<program>.log. The calling goroutine must be locked to a
// thread that outlives the child (see up).
func (f *family) start(program string, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	path := filepath.Join(f.dir, program+".log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()

	cmd := exec.Command(self, append([]string{program}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		// Not even kill -9 of the supervisor leaves a server behind.
		Pdeathsig: syscall.SIGKILL,
		// Ctrl-C in a terminal is for the supervisor; a child that it hit first would look like a failure.
		Setpgid: true,
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", program, err)
	}
	f.cmds = append(f.cmds, cmd)
	f.dead.Go(func() {
		_ = cmd.Wait()
		// Only the first cause counts, so a death by kill stays what it is: the end that was asked for.
		f.end(obituary(program, cmd.ProcessState, path))
	})
	return nil
}

// kill ends all children and waits until they are gone. SIGKILL at once: they have nothing to save.
func (f *family) kill() {
	f.end(errAskedToEnd)
	for _, cmd := range f.cmds {
		_ = cmd.Process.Kill()
	}
	f.dead.Wait()
}

// obituary says how a server died and what it said last.
func obituary(program string, state *os.ProcessState, path string) error {
	last := tail(path, 20)
	err := fmt.Errorf("%s ended (%s); the end of %s:\n%s", program, state, path, last)
	if bytes.Contains(last, []byte("address already in use")) {
		return fmt.Errorf("%w: %w", errPortTaken, err)
	}
	return err
}

// tail returns the last n lines of a file, or nothing where it cannot be read.
func tail(path string, n int) []byte {
	content, _ := os.ReadFile(path)
	lines := bytes.Split(bytes.TrimSpace(content), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-n):], []byte("\n"))
}
