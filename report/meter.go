package report

import (
	"sync"
	"time"
)

// meterInterval is the shortest time between two of what a Meter says.
const meterInterval = 100 * time.Millisecond

// Meter counts what comes in a phase, and says now and then how far it is. It may be used from several
// goroutines.
type Meter struct {
	sink Sink

	mu   sync.Mutex
	now  Progress
	next time.Time
}

// NewMeter returns one for a phase of so many objects.
func NewMeter(sink Sink, phase string, total int) *Meter {
	return &Meter{sink: sink, now: Progress{Phase: phase, Total: total}}
}

// Add counts objects and bytes.
func (m *Meter) Add(objects int, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now.Done += objects
	m.now.Bytes += bytes
	all := objects > 0 && m.now.Done == m.now.Total
	if now := time.Now(); all || now.After(m.next) {
		m.next = now.Add(meterInterval)
		m.sink.Progress(m.now)
	}
}

// Now returns what has been counted.
func (m *Meter) Now() Progress {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}
