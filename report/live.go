package report

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// This file is the line of a terminal that says how far a push is, and changes in its place.

const (
	// moment is how long a phase lasts before it shows, and drawInterval how often the line is drawn.
	moment       = 250 * time.Millisecond
	drawInterval = 250 * time.Millisecond
	// maxPhase is how much of a phase's name shows, in bytes.
	maxPhase = 40
)

// live is that line.
type live struct {
	progress Progress
	began    time.Time // when the phase did
	rate     rate
	drawn    int // how long what is on the terminal is
}

// follow notes how far things are.
func (l *live) follow(p Progress, now time.Time) {
	if l.began.IsZero() || l.progress.Phase != p.Phase {
		l.began, l.rate = now, rate{}
	}
	l.progress = p
	l.rate.note(p.Bytes, now)
}

// draw returns what is to be written to a terminal that is so wide, so that the line is as things are now. One of a phase that has
// only begun stays as it is.
func (l *live) draw(now time.Time, width int) string {
	if now.Sub(l.began) < moment {
		return ""
	}
	text := []rune(l.text(now))
	text = text[:min(len(text), max(width-1, 0))]
	blanks := strings.Repeat(" ", max(l.drawn-len(text), 0))
	l.drawn = len(text)
	return "\r" + string(text) + blanks
}

// erase returns what removes the line.
func (l *live) erase() string {
	if l.drawn == 0 {
		return ""
	}
	blanks := strings.Repeat(" ", l.drawn)
	l.drawn = 0
	return "\r" + blanks + "\r"
}

// text reads like "Receiving objects:  76% (219.0 of 286.0 MiB),  11.2 MiB/s, 6 s left". Numbers that change are
// always as long.
func (l *live) text(now time.Time) string {
	p := l.progress
	phase := Shortened(Printable(p.Phase), maxPhase)
	switch {
	case p.Size > 0:
		return fmt.Sprintf("%s: %3d%% (%s)%s", phase, p.percent(), p.ofSize(), l.speed(now))
	case p.Bytes > 0 && p.Total > 0:
		return fmt.Sprintf("%s: %s, %s%s", phase, p.ofTotal(), size(p.Bytes), l.speed(now))
	case p.Bytes > 0:
		return fmt.Sprintf("%s: %s%s", phase, size(p.Bytes), l.speed(now))
	case p.Total > 0:
		return fmt.Sprintf("%s: %3d%% (%s)", phase, percent(int64(p.Done), int64(p.Total)), p.ofTotal())
	}
	return phase
}

// percent is how much of the bytes have come: all of them only if that is certain.
func (p Progress) percent() int {
	n := percent(p.Bytes, p.Size)
	if p.About {
		n = min(n, 99)
	}
	return n
}

func percent(done, total int64) int {
	return int(100 * (float64(min(max(done, 0), total)) / float64(total)))
}

// ofSize reads like "219.0 of 286.0 MiB".
func (p Progress) ofSize() string {
	all := max(p.Size, p.Bytes)
	unit, name := unitOf(all)
	about, total := "", fmt.Sprintf("%.1f", float64(all)/unit)
	if p.About {
		about, total = "about ", fmt.Sprintf("%5s", total) // it changes
	}
	return fmt.Sprintf("%*.1f of %s%s %s", utf8.RuneCountInString(total), float64(max(p.Bytes, 0))/unit, about, total, name)
}

// ofTotal reads like "219 of 286".
func (p Progress) ofTotal() string {
	total := fmt.Sprint(p.Total)
	return fmt.Sprintf("%*d of %s", len(total), p.Done, total)
}

// speed is how fast bytes come, and how long it takes until all are there, as far as that can be said.
func (l *live) speed(now time.Time) string {
	p := l.progress
	if p.Size > 0 && p.Bytes >= p.Size {
		return ""
	}
	if l.rate.stalled(now) {
		return ", stalled"
	}
	perSecond, ok := l.rate.perSecond(p.Bytes, now)
	if !ok {
		return ""
	}
	s := fmt.Sprintf(", %s/s", size(int64(perSecond)))
	if left := float64(p.Size-p.Bytes) / perSecond; p.Size > 0 && left < maxLeft.Seconds() {
		s += ", " + duration(left) + " left"
	}
	return s
}

// maxLeft is the longest time that is foreseen.
const maxLeft = 99 * time.Hour

// duration reads like "6 s", in a unit in which a time has at most two digits.
func duration(seconds float64) string {
	n, unit := math.Ceil(seconds), "s"
	for _, next := range []string{"min", "h"} {
		if n > 99 {
			n, unit = math.Ceil(n/60), next
		}
	}
	return fmt.Sprintf("%.0f %s", n, unit)
}

// unitOf returns the unit in which a number of bytes has at most three digits before the point, and its name.
func unitOf(bytes int64) (unit float64, name string) {
	unit, name = 1<<10, "KiB"
	for _, next := range []string{"MiB", "GiB", "TiB", "PiB", "EiB"} {
		if float64(bytes)/unit >= 999.95 {
			unit, name = unit*1024, next
		}
	}
	return unit, name
}

// size reads like " 11.2 MiB", and is always as long.
func size(bytes int64) string {
	bytes = max(bytes, 0)
	unit, name := unitOf(bytes)
	return fmt.Sprintf("%5.1f %s", float64(bytes)/unit, name)
}

// rate is how fast bytes come, over the last few seconds.
type rate struct {
	samples []sample  // those of the last seconds, and the one before
	bytes   int64     // the last that is known
	changed time.Time // when there were fewer
}

type sample struct {
	at    time.Time
	bytes int64
}

const (
	rateTime = 5 * time.Second
	// rateStep is the time between two samples. After leastRateTime a rate says something.
	rateStep      = 100 * time.Millisecond
	leastRateTime = time.Second
)

// note takes down how many bytes have come.
func (r *rate) note(bytes int64, now time.Time) {
	if r.changed.IsZero() || bytes < r.bytes { // it begins anew
		*r = rate{samples: []sample{{now, bytes}}}
	}
	if bytes != r.bytes || r.changed.IsZero() {
		r.bytes, r.changed = bytes, now
	}
	if now.Sub(r.samples[len(r.samples)-1].at) >= rateStep {
		r.samples = append(r.samples, sample{now, bytes})
	}
	for len(r.samples) > 1 && now.Sub(r.samples[1].at) >= rateTime {
		r.samples = r.samples[1:]
	}
}

// perSecond returns how many bytes come in a second, when so many have come now.
func (r *rate) perSecond(bytes int64, now time.Time) (perSecond float64, ok bool) {
	first := r.samples[0]
	for _, s := range r.samples {
		if now.Sub(s.at) >= rateTime {
			first = s
		}
	}
	if now.Sub(first.at) < leastRateTime || bytes <= first.bytes {
		return 0, false
	}
	return float64(bytes-first.bytes) / now.Sub(first.at).Seconds(), true
}

// stalled reports whether nothing has come for some seconds.
func (r *rate) stalled(now time.Time) bool { return now.Sub(r.changed) >= rateTime }
