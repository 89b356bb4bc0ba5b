package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// usageError is a wrong call or configuration. Running it again as it is would fail again.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// load reads the settings from the flags in args and from the variables that getenv finds, of which a flag wins. A
// wrong setting does not hide another one: the error, a *usageError, has a line for each. The help page, if asked for,
// goes to stdout.
func load(args []string, getenv func(string) string, stdout io.Writer) (*config, error) {
	cfg := &config{}
	l := &loader{getenv: getenv, source: map[*kong.Value]string{}, wrong: map[*kong.Value]bool{}}
	helped := false
	parser, err := kong.New(cfg, append(l.mappers(),
		kong.Name("slotsync"),
		kong.Description("Keeps a Kafka topic in step with the shifts of When I Work. "+
			"Every setting has a flag and a variable; the flag wins, and of two variables the first."),
		kong.Writers(stdout, stdout),
		kong.Exit(func(int) { helped = true }), // kong calls it after the help page, and goes on when it returns
		kong.Resolvers(kong.ResolverFunc(l.resolve)),
		kong.ValueFormatter(describe),
		kong.ConfigureHelp(kong.HelpOptions{NoExpandSubcommands: true}),
		kong.Help(printHelp),
	)...)
	if err != nil {
		return nil, fmt.Errorf("declare settings: %w", err)
	}
	l.flags = parser.Model.Flags
	call, err := parser.Parse(asMeant(args))
	switch {
	case helped:
		return cfg, nil
	case err != nil:
		return nil, &usageError{fmt.Errorf("%w (slotsync --help tells what there is)", withoutArgument(err, args))}
	}
	cfg.command = call.Command()
	if cfg.PrintVersion {
		cfg.command = "version"
	}
	cfg.tokenFrom = cmp.Or(l.source[l.setting(&cfg.WIW.Token)], "WIW_KEY")
	if from := cfg.WIW.Token.file; from != nil {
		cfg.tokenFrom = from.setting
	}
	cfg.registryFrom = cmp.Or(l.source[l.setting(&cfg.Registry.URL)], "AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL")
	cfg.badSelection = l.isWrong(&cfg.Republish)
	if cfg.command == "version" {
		l.faults = nil // of settings, which it does without
		cfg.validateFlags(l, call)
		return cfg, l.result()
	}
	l.requireNeeded(cfg.spared())
	cfg.validateFlags(l, call)
	cfg.validate(l)
	cfg.warnings = l.warnings
	if err := l.result(); err != nil {
		return nil, err
	}
	return cfg, nil
}

// withoutArgument takes from kong's complaint about an argument the argument, which may be a secret whose flag was
// forgotten, and leaves where it stands and what it may have been meant to be.
func withoutArgument(err error, args []string) error {
	const complaint = "unexpected argument"
	text, found := strings.CutPrefix(err.Error(), complaint+" ")
	if !found {
		return err
	}
	argument, guess := text, ""
	if at := strings.LastIndex(text, ", did you mean "); at >= 0 {
		argument, guess = text[:at], text[at:]
	}
	return errors.New(complaint + placeOf(argument, args) + guess)
}

// placeOf tells at which word of the call an argument stands, and behind which flag, without a word that is not ours.
func placeOf(argument string, args []string) string {
	at := slices.Index(args, argument)
	if at < 0 || slices.Contains(args[at+1:], argument) {
		return ""
	}
	place := fmt.Sprintf(" at word %d", at+1)
	if at > 0 && strings.HasPrefix(args[at-1], "--") {
		flag, _, _ := strings.Cut(args[at-1], "=")
		place += ", behind " + flag
	}
	return place
}

// loader collects what is wrong with the settings while kong reads them.
type loader struct {
	getenv   func(string) string
	flags    []*kong.Flag
	source   map[*kong.Value]string // the variable that a setting came from, if it did
	wrong    map[*kong.Value]bool   // settings with a fault
	faults   []error
	warnings []string
}

// result returns all faults, if there are any, as a *usageError.
func (l *loader) result() error {
	if len(l.faults) > 0 {
		return &usageError{errors.Join(l.faults...)}
	}
	return nil
}

func (l *loader) warn(format string, args ...any) {
	l.warnings = append(l.warnings, fmt.Sprintf(format, args...))
}

func (l *loader) faultOf(name, text string) {
	l.faults = append(l.faults, errors.New(name+" "+text))
}

// fault notes what is wrong with the setting that field points at, unless something is known to be wrong with it.
func (l *loader) fault(field any, text string) { l.faultIn(l.setting(field), text) }

// isWrong tells whether something is known to be wrong with the setting that field points at.
func (l *loader) isWrong(field any) bool { return l.wrong[l.setting(field)] }

// setting returns the setting that field points at.
func (l *loader) setting(field any) *kong.Value {
	for _, flag := range l.flags {
		if flag.Target.CanAddr() && flag.Target.Addr().Interface() == field {
			return flag.Value
		}
	}
	panic("a field that is no setting")
}

func (l *loader) faultIn(v *kong.Value, text string) {
	if !l.wrong[v] {
		l.wrong[v] = true
		l.faultOf(l.nameOf(v), text)
	}
}

// nameOf returns the variable that v came from, or all that it could be set by.
func (l *loader) nameOf(v *kong.Value) string {
	if name := l.source[v]; name != "" {
		return name
	}
	if names := variables(v); len(names) > 0 {
		return names[0] + " (--" + v.Name + ")"
	}
	return "--" + v.Name
}

func variables(v *kong.Value) []string {
	return strings.FieldsFunc(v.Tag.Get("vars"), func(r rune) bool { return r == ',' })
}

// resolve finds a setting's value among its variables. kong asks it for settings without a flag in the call.
func (l *loader) resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	var found, from string
	for _, name := range variables(flag.Value) {
		tries := []string{name}
		if flag.Tag.Has("file") {
			tries = append(tries, name+"_FILE")
		}
		for _, try := range tries {
			text := l.getenv(try)
			if text != "" && try != name {
				path := text
				var err error
				if text, err = readBounded(path, mostOf(flag.Target.Type())); err != nil {
					l.source[flag.Value] = try
					l.faultIn(flag.Value, err.Error())
					continue
				}
			}
			switch {
			case text == "":
			case from == "":
				found, from = text, try
			case text != found:
				l.warn("%s and %s are both set and differ; %s is used", from, try, from)
			}
		}
	}
	if from == "" {
		return nil, nil
	}
	l.source[flag.Value] = from
	return found, nil
}

// What keeps a path that was mixed up from filling the memory, in bytes.
const (
	maxSecret = 64 << 10 // far above any token
	maxPEM    = 4 << 20  // a system's bundle of authorities has 220 KiB
)

// mostOf returns how large the file of a setting of that type may be.
func mostOf(setting reflect.Type) int {
	if setting == reflect.TypeFor[pemSource]() {
		return maxPEM
	}
	return maxSecret
}

// readSecret is readBounded for what goes into a header or a login.
func readSecret(path string) (string, error) { return readBounded(path, maxSecret) }

// readBounded returns a file's content without what editors put around it: a line end, and a mark of the encoding.
func readBounded(path string, most int) (string, error) {
	content, err := readSmall(path, most)
	if err != nil {
		var cause *os.PathError
		if errors.As(err, &cause) {
			err = cause.Err // without the path: somebody may have given the secret itself
		}
		if regexp.MustCompile(`^\.{0,2}/[A-Za-z0-9_./-]+$`).MatchString(path) {
			return "", fmt.Errorf("names a file that cannot be read: %s: %w", path, err)
		}
		return "", fmt.Errorf("names a file that cannot be read: %w", err)
	}
	text := strings.TrimRight(strings.TrimPrefix(string(content), "\ufeff"), "\r\n")
	if text == "" {
		return "", errors.New("names an empty file")
	}
	return text, nil
}

// readSmall reads a regular file. It is read more than once, which a pipe cannot be, and to open one may take for ever.
func readSmall(path string, most int) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, errors.New("it is a directory")
	case !info.Mode().IsRegular():
		return nil, errors.New("it is no regular file, which can be read again later")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, int64(most)+1))
	if err == nil && len(content) > most {
		err = fmt.Errorf("it is larger than %d KiB", most>>10)
	}
	return content, err
}

// requireNeeded notes each setting that has to be set and is not, but for those whose flag is spared.
func (l *loader) requireNeeded(spared []string) {
	for _, flag := range l.flags {
		if flag.Tag.Has("needed") && flag.Target.IsZero() && !slices.Contains(spared, flag.Name) {
			l.faultIn(flag.Value, "is not set: give "+flag.Tag.Get("needed"))
		}
	}
}

// mappers make kong read each type of setting with a function of parse.go, and note faults instead of stopping there.
func (l *loader) mappers() []kong.Option {
	return []kong.Option{
		typed(l, bounded(parseInt[int])),
		typed(l, bounded(parseInt[int32])),
		typed(l, bounded(parseInt[int64])),
		typed(l, bounded(parseFloat)),
		typed(l, bounded(parseDuration)),
		typed(l, bounded(parseSize)),
		typed(l, parseHostPorts),
		typed(l, parseEndpoint),
		typed(l, parseWords),
		typed(l, parseSelection),
		typed(l, parseChoice),
		typed(l, parseStart),
		typed(l, parsePEM),
		typed(l, parsePairs),
		kong.TypeMapper(reflect.TypeFor[bool](), mapper[bool]{l, parseBool}),
		kong.TypeMapper(reflect.TypeFor[secret](), mapper[secret]{l, parseSecret}),
		kong.NamedMapper("name", mapper[string]{l, parseName}),
		kong.NamedMapper("topic", mapper[string]{l, parseTopic}),
		kong.NamedMapper("topic_or_off", mapper[string]{l, parseTopicOrOff}),
		kong.NamedMapper("namespace", mapper[string]{l, parseNamespace}),
		kong.NamedMapper("mechanism", mapper[string]{l, parseMechanism}),
		kong.NamedMapper("email", mapper[string]{l, parseEmail}),
		kong.NamedMapper("printable", mapper[string]{l, parsePrintable}),
		kong.NamedMapper("listen", mapper[string]{l, parseListen}),
		kong.NamedMapper("host", mapper[string]{l, parseHost}),
		kong.NamedMapper("tag", mapper[string]{l, parseTag}),
		kong.NamedMapper("prefix", mapper[string]{l, parsePrefix}),
	}
}

func typed[T any](l *loader, parse parseFunc[T]) kong.Option {
	return kong.TypeMapper(reflect.TypeFor[T](), mapper[T]{l, parse})
}

// parseFunc reads a setting. Its error says what the text should be, as the end of a sentence that begins with the
// setting's name, and quotes nothing that may be a secret.
type parseFunc[T any] func(text string, tag *kong.Tag) (T, error)

type mapper[T any] struct {
	l     *loader
	parse parseFunc[T]
}

// Decode reads one value. It never returns an error, because kong would stop at it.
func (m mapper[T]) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	v := ctx.Value
	if v.IsBool() && ctx.Scan.Peek().Type != kong.FlagValueToken {
		target.SetBool(true)
		return nil
	}
	token, err := ctx.Scan.PopValue("value")
	if err != nil {
		m.l.faultIn(v, "has no value")
		return nil
	}
	text := fmt.Sprint(token.Value)
	var file *secretFile
	switch source := m.l.source[v]; {
	case source != "" && !slices.Contains(variables(v), source):
		file = &secretFile{source, m.l.getenv(source)}
	case source == "" && target.Type() == reflect.TypeFor[secret]():
		// From a flag, which holds a path.
		file = &secretFile{"--" + v.Name, text}
		if text, err = readSecret(text); err != nil {
			m.l.faultIn(v, err.Error())
			return nil
		}
	}
	value, err := m.parse(text, v.Tag)
	if err != nil {
		m.l.faultIn(v, err.Error())
		return nil
	}
	switch s := any(value).(type) {
	case secret:
		s.file = file
		value = any(s).(T)
	case endpoint:
		if m.l.source[v] == "" && s.hasUser() {
			m.l.faultIn(v, "is given with a user or password, which everybody on this machine can read in the list of processes: give it in the variable"+orFile(v))
			return nil
		}
		if instead := v.Tag.Get("no_user"); instead != "" && s.hasUser() {
			m.l.faultIn(v, "is a URL with a user or password, which would not be sent: "+instead)
			return nil
		}
		s.full.file = file
		value = any(s).(T)
	case pemSource:
		if m.l.source[v] == "" && s.path == "" {
			m.l.faultIn(v, "is given as text, which everybody on this machine can read in the list of processes: give the path of a file")
			return nil
		}
		s.setting = m.l.nameOf(v)
		if file != nil {
			s.path, s.text = file.path, secret{}
		}
		value = any(s).(T)
	}
	target.Set(reflect.ValueOf(value))
	return nil
}

// orFile names the other way to give a setting that may hold a secret, if it has one.
func orFile(v *kong.Value) string {
	if !v.Tag.Has("file") {
		return ""
	}
	return ", or the path of a file in " + variables(v)[0] + "_FILE"
}

// bounded adds a setting's bounds to the parser of its type.
func bounded[T cmp.Ordered](parse parseFunc[T]) parseFunc[T] {
	return func(text string, tag *kong.Tag) (T, error) {
		value, err := parse(text, tag)
		if err != nil {
			return value, err
		}
		for _, bound := range []struct {
			tag, word string
			sign      int
		}{{"min", "least", -1}, {"max", "most", +1}} {
			limit, err := parse(tag.Get(bound.tag), tag)
			if tag.Has(bound.tag) && err == nil && cmp.Compare(value, limit) == bound.sign {
				return value, fmt.Errorf("must be at %s %s, not %s", bound.word, tag.Get(bound.tag), strings.TrimSpace(text))
			}
		}
		return value, nil
	}
}

// describe adds to a setting's help what else can be said of it: the variables.
func describe(v *kong.Value) string {
	text := v.Help
	if names := variables(v); len(names) > 0 {
		text += " [" + strings.Join(names, ", ")
		if v.Tag.Has("file") {
			text += ", or a path in " + strings.Join(names, "_FILE, ") + "_FILE"
		}
		text += "]"
	}
	if v.Tag.Has("needed") {
		text += " Required."
	}
	return text
}

var _ kong.Mapper = mapper[time.Duration]{}
