package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"reflect"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/vazel-gateway/vazel/config"
	"github.com/vazel-gateway/vazel/gateway"
	"github.com/vazel-gateway/vazel/gateway/admin"
	"github.com/vazel-gateway/vazel/gateway/console"
)

// configFlag adds -config to a flag set.
func configFlag(f *flag.FlagSet) *string {
	def := os.Getenv("VAZEL_CONFIG")
	if def == "" {
		def = "/etc/vazel"
	}
	return f.String("config", def, "configuration: a file, or a folder with vazel.yaml")
}

// parse reads the flags of a command that takes no other arguments.
func parse(f *flag.FlagSet, args []string, errs io.Writer) error {
	f.SetOutput(errs)
	if err := f.Parse(args); err != nil {
		return errUsage
	}
	if f.NArg() > 0 {
		fmt.Fprintf(errs, "vazel %s: unexpected argument %q\n", f.Name(), f.Arg(0))
		return errUsage
	}
	return nil
}

func runCommand(ctx context.Context, args []string, out, errs io.Writer) error {
	f := flag.NewFlagSet("run", flag.ContinueOnError)
	path := configFlag(f)
	level := f.String("log-level", "info", "debug, info, warn or error")
	state := f.String("state", "", "folder for what must survive a restart; default: $STATE_DIRECTORY, or state beside the configuration")
	watch := f.Bool("watch", true, "reload when a file of the configuration changes, or one that it names")
	lastGood := f.Bool("last-good", true, "start with the last configuration that was in force, if the one on disk can't be used")
	if err := parse(f, args, errs); err != nil {
		return err
	}
	return runGateway(ctx, runOptions{Config: *path, Level: *level, StateDir: *state, Watch: *watch, LastGood: *lastGood, Upgrade: true, Errors: errs})
}

// runOptions is how a gateway is run.
type runOptions struct {
	Config   string
	Level    string
	StateDir string
	Watch    bool
	LastGood bool
	Upgrade  bool          // another process may take over with the same arguments
	Errors   io.Writer     // for what is wrong with the configuration, and the program's log
	Ready    func(r ready) // called once, when everything is served
}

// ready says where a gateway that serves can be reached.
type ready struct{ Admin string }

// runGateway serves until ctx ends and the drain is over, or another process has
// taken over and what was under way here is done.
func runGateway(ctx context.Context, o runOptions) error {
	log, err := newLog(o.Level, o.Errors)
	if err != nil {
		return err
	}
	defer log.Sync()
	program, err := programPath()
	if err != nil {
		return err
	}
	in, err := gateway.Inherit()
	if err != nil {
		return err
	}
	if o.StateDir, err = stateDir(o.StateDir, o.Config); err != nil {
		return err
	}
	tuneMemory(log)
	signal.Ignore(syscall.SIGXFSZ) // a file that must not grow is an error of writing to it, as on a full disk
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsScheduler, collectors.MetricsGC)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	g, err := gateway.New(gateway.Options{Log: log, Registerer: reg, StateDir: o.StateDir, Version: version, Inherited: in})
	if err != nil {
		in.Failed(err)
		return err
	}
	r := &reloader{gateway: g, path: o.Config, kept: keptFile(o.StateDir), log: log}
	u := &upgrader{log: log, gateway: g, reloader: r, path: program}
	ao := admin.Options{
		Log: log, Gatherer: reg, Ready: g.Ready, Reload: r.reload, Inherited: in.Listener,
		Effective: r.effective, Organizations: func() (any, error) { return g.Organizations() }, Store: g.StoreState,
		Incident: func(id string) any {
			if i := g.Incident(id); i != nil {
				return i
			}
			return nil
		},
		Console: console.New(g), Operators: r.operators,
		Incidents: func(q url.Values, most int) any {
			return g.Refusals(gateway.RefusalFilter{Organization: q.Get("organization"), Service: q.Get("service"), Reason: q.Get("reason"), Detected: q.Get("mode") == "detect"}, most)
		},
	}
	signals := map[os.Signal]func(context.Context, <-chan os.Signal){syscall.SIGHUP: r.onSignal}
	if o.Upgrade {
		ao.Upgrade, signals[syscall.SIGUSR2] = u.upgrade, u.onSignal
	}
	// They are heard before anybody can see that the gateway is ready, and handled
	// when it runs.
	heard := map[os.Signal]chan os.Signal{}
	for sig := range signals {
		heard[sig] = make(chan os.Signal, 1)
		signal.Notify(heard[sig], sig)
		defer signal.Stop(heard[sig])
	}
	a, err := begin(o, r, in, ao)
	if err != nil {
		in.Failed(err)
		var mistakes *config.Errors
		if errors.As(err, &mistakes) {
			fmt.Fprintln(o.Errors, err)
			return errFailed
		}
		return err
	}
	runCtx, leave := context.WithCancel(ctx)
	defer leave()
	u.admin, u.leave = a, leave
	in.Take()
	adminDone := make(chan error, 1)
	go func() { adminDone <- a.Serve() }()
	defer func() {
		c, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		a.Shutdown(c)
		<-adminDone
	}()

	var wg sync.WaitGroup
	defer wg.Wait()
	for sig, handle := range signals {
		wg.Go(func() { handle(runCtx, heard[sig]) })
	}
	wg.Go(func() { returnMemory(runCtx) })
	if o.Watch {
		wg.Go(func() { r.onChange(runCtx) })
	}
	log.Info("serving", zap.String("version", version), zap.String("admin", a.Address()), zap.Int("services", len(r.current.Services)), zap.Int("organizations", len(r.current.Callers)))
	daemon.SdNotify(false, fmt.Sprintf("%s\nMAINPID=%d", daemon.SdNotifyReady, os.Getpid()))
	if o.Ready != nil {
		o.Ready(ready{Admin: a.Address()})
	}
	context.AfterFunc(runCtx, func() {
		if ctx.Err() != nil { // otherwise the service does not stop, only this process does
			daemon.SdNotify(false, daemon.SdNotifyStopping)
		}
	})
	return g.Run(runCtx)
}

// newLog makes the program's own log: JSON lines, one for each event.
func newLog(level string, w io.Writer) (*zap.Logger, error) {
	l, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, fmt.Errorf("log-level %q: write debug, info, warn or error", level)
	}
	enc := zap.NewProductionEncoderConfig()
	enc.TimeKey, enc.EncodeTime = "@timestamp", utcTime
	enc.MessageKey, enc.LevelKey, enc.NameKey = "message", "log.level", "log.logger"
	return zap.New(maskedCore{zapcore.NewCore(zapcore.NewJSONEncoder(enc), zapcore.Lock(zapcore.AddSync(w)), l)}), nil
}

func utcTime(t time.Time, enc zapcore.PrimitiveArrayEncoder) {
	enc.AppendString(t.UTC().Format("2006-01-02T15:04:05.000Z"))
}

// reloader applies what stands on disk.
type reloader struct {
	gateway *gateway.Gateway
	path    string
	kept    string // file for the last good configuration; "" for none
	log     *zap.Logger

	mu      sync.Mutex
	current *config.Config
	inForce atomic.Pointer[config.Config] // current, for who must not wait for a reload
	read    *config.Files                 // by the last attempt, whether it was applied or not
}

// files are those whose change calls for another attempt.
func (r *reloader) files() *config.Files {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.read
}

// reload loads and applies the configuration; on an error the former one stays
// in force, and so do the files that were right.
func (r *reloader) reload() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	daemon.SdNotify(false, daemon.SdNotifyReloading)
	defer daemon.SdNotify(false, daemon.SdNotifyReady)
	start := time.Now()
	next, err := config.LoadWith(r.current, r.path)
	if err != nil {
		var mistakes *config.Errors
		if errors.As(err, &mistakes) {
			r.read = mistakes.Read
		}
		r.gateway.ReloadFailed(err)
		r.log.Error("configuration refused; the former one stays in force", zap.Error(err))
		return err
	}
	r.read = next.Read
	if err := r.gateway.Apply(next); err != nil {
		r.log.Error("configuration refused; the former one stays in force", zap.Error(err))
		return err
	}
	if now, then := next.Admin, r.current.Admin; !reflect.DeepEqual(listening(now), listening(then)) {
		r.log.Warn("admin was changed; the admin listener itself changes only when the program starts anew", zap.String("listen", next.Admin.Listen))
	}
	r.use(next)
	r.log.Info("configuration applied", zap.String("hash", next.Hash), zap.Duration("took", time.Since(start)))
	return nil
}

// use notes that c is in force.
func (r *reloader) use(c *config.Config) {
	r.current = c
	r.inForce.Store(c)
	if r.kept == "" {
		return
	}
	if err := c.Keep(r.kept); err != nil {
		r.log.Warn("the configuration in force can't be kept for a start while the files on disk are wrong", zap.Error(err))
	}
}

// listening is a setting of the admin listener without what a reload changes.
func listening(a config.Admin) config.Admin {
	a.Operators = nil
	return a
}

// operators are who may use the admin listener, by the configuration in force.
func (r *reloader) operators() []string {
	if c := r.inForce.Load(); c != nil {
		return c.Admin.Operators
	}
	return nil
}

// effective is the configuration in force.
func (r *reloader) effective() any {
	r.mu.Lock()
	defer r.mu.Unlock()
	return runningConfig{r.current.Hash, r.current.Effective()}
}

// runningConfig is what the admin listener shows of a configuration.
type runningConfig struct {
	Hash   string         `json:"hash"`
	Config map[string]any `json:"config"`
}

func (r *reloader) onSignal(ctx context.Context, hup <-chan os.Signal) {
	for {
		select {
		case <-hup:
			if err := r.gateway.ReopenLogs(); err != nil {
				r.log.Error("log files could not be opened anew", zap.Error(err))
			}
			r.reload()
		case <-ctx.Done():
			return
		}
	}
}
