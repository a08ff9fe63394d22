//! A bounded queue between the code that logs and the thread that writes. If the queue is full,
//! lines are lost and nothing waits.
//!
//! Pipes, disks and collectors that read a log have troubles of their own. A log that is not read,
//! or that has no room, costs lines and never blocks the service.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tracing_subscriber::fmt::MakeWriter;

/// The most bytes of lines that wait to be written.
const QUEUE_MAX_BYTES: usize = 1 << 20;
/// The pause before writing again to a terminal or pipe that takes no bytes at present.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// The lines that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Signals that lines came, or that all were written.
    changed: Condvar,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    waiting: Lines,
    /// Whether the thread has taken lines that it has not written yet.
    is_writing: bool,
}

/// Lines in a row, with the end of each.
#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Queue {
    pub(super) const fn new() -> Self {
        let waiting = Lines { bytes: Vec::new(), ends: Vec::new() };
        Self {
            state: Mutex::new(State { waiting, is_writing: false }),
            changed: Condvar::new(),
            lost: AtomicU64::new(0),
        }
    }

    /// Adds a line, or counts it as lost if the queue is full. Never waits.
    fn push(&self, line: &[u8]) {
        let mut state = self.state.lock();
        if state.waiting.bytes.len() + line.len() > QUEUE_MAX_BYTES {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.waiting.bytes.extend_from_slice(line);
        let end = state.waiting.bytes.len();
        state.waiting.ends.push(end);
        drop(state);
        self.changed.notify_all();
    }

    /// The number of lines that were never written since the process started.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until everything was written or could not be written, at most for `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut state = self.state.lock();
        while state.is_writing || !state.waiting.ends.is_empty() {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                return;
            }
        }
    }

    /// Writes lines as they come, forever. After lines were lost, calls `tell` with their number as
    /// soon as writing works again.
    pub(super) fn write_to(&self, sink: &mut dyn Write, tell: &dyn Fn(u64)) -> ! {
        let (mut lines, mut told, mut is_mid_line) = (Lines::default(), 0, false);
        loop {
            self.take(&mut lines);
            let written = write(sink, &lines.bytes, &mut is_mid_line);
            let unwritten = lines.ends.iter().filter(|end| **end > written).count() as u64;
            self.lost.fetch_add(unwritten, Ordering::Relaxed);
            let lost = self.lost();
            if unwritten == 0 && lost > told {
                // This is a line like any other, and waits its turn.
                tell(lost - told);
                told = lost;
            }
            lines.bytes.clear();
            lines.ends.clear();
            self.state.lock().is_writing = false;
            self.changed.notify_all();
        }
    }

    fn take(&self, lines: &mut Lines) {
        let mut state = self.state.lock();
        while state.waiting.ends.is_empty() {
            self.changed.wait(&mut state);
        }
        std::mem::swap(lines, &mut state.waiting);
        state.is_writing = true;
    }
}

/// Writes as much as possible, and returns how many bytes that was. First ends a line that was
/// broken off.
fn write(sink: &mut dyn Write, bytes: &[u8], is_mid_line: &mut bool) -> usize {
    if *is_mid_line && write_some(sink, b"\n") == 1 {
        *is_mid_line = false;
    }
    let written = write_some(sink, bytes);
    if written > 0 {
        *is_mid_line = bytes[written - 1] != b'\n';
    }
    written
}

fn write_some(sink: &mut dyn Write, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match sink.write(&bytes[written..]) {
            Ok(0) => break,
            Ok(more) => written += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            #[expect(clippy::disallowed_methods, reason = "the thread of the log waits, no worker")]
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(RETRY_PAUSE),
            // There is no room, or no reader. The code that logged these lines does not wait for
            // that.
            Err(_) => break,
        }
    }
    written
}

/// Gives the subscriber's lines to the queue, at once and whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueueWriter(pub(super) &'static Queue);

impl Write for QueueWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for QueueWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A log on a disk that is full when the test says so, with a reader that reads when the test
    /// says so.
    struct Disk {
        written: SyncSender<Vec<u8>>,
        is_full: Receiver<bool>,
        full: bool,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.is_full.try_recv() {
                Ok(full) => self.full = full,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
            }
            if self.full {
                return Err(ErrorKind::StorageFull.into());
            }
            // Takes nine bytes at a time, so that lines are broken off in the middle.
            let some = &bytes[..bytes.len().min(9)];
            self.written.send(some.to_vec()).map_err(|_| ErrorKind::BrokenPipe)?;
            Ok(some.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Scene {
        queue: &'static Queue,
        written: Receiver<Vec<u8>>,
        set_full: SyncSender<bool>,
        told: Receiver<u64>,
    }

    /// A log with room for `unread` writes that are not read.
    fn scene(unread: usize) -> Scene {
        let queue: &'static Queue = Box::leak(Box::default());
        let (written_in, written) = sync_channel(unread);
        let (set_full, is_full) = sync_channel(1);
        let (told_in, told) = sync_channel(100);
        std::thread::spawn(move || {
            let mut disk = Disk { written: written_in, is_full, full: false };
            queue.write_to(&mut disk, &|lost| told_in.send(lost).unwrap());
        });
        Scene { queue, written, set_full, told }
    }

    #[test]
    fn lines_are_written_in_order() {
        let Scene { queue, written, .. } = scene(1000);
        for number in 0..100 {
            queue.push(format!("line {number}\n").as_bytes());
        }
        queue.flush(PATIENCE);
        let text = written.try_iter().flatten().collect::<Vec<u8>>();
        let expected: String = (0..100).map(|number| format!("line {number}\n")).collect();
        assert_eq!(String::from_utf8(text).unwrap(), expected);
        assert_eq!(queue.lost(), 0);
    }

    #[test]
    fn a_log_that_nobody_reads_costs_lines_and_no_time() {
        let Scene { queue, written, told, .. } = scene(0);
        let line = [b'x'; 1024];
        for _ in 0..10_000 {
            queue.push(&line);
        }
        let lost = queue.lost();
        assert!((7_900..=9_000).contains(&lost), "{lost}");
        // Stopping does not wait for a reader either.
        queue.flush(Duration::from_millis(10));
        // Once the reader is back, it gets the waiting lines and the number of lost ones.
        let reader = std::thread::spawn(move || written.into_iter().map(|some| some.len()).sum::<usize>());
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), lost);
        queue.flush(PATIENCE);
        assert_eq!(queue.lost(), lost);
        drop(reader);
    }

    #[test]
    fn a_full_disk_costs_lines_until_it_has_room() {
        let Scene { queue, written, set_full, told } = scene(1000);
        queue.push(b"before\n");
        queue.flush(PATIENCE);
        set_full.send(true).unwrap();
        for _ in 0..3 {
            queue.push(b"lost\n");
        }
        queue.flush(PATIENCE);
        assert_eq!(queue.lost(), 3);
        set_full.send(false).unwrap();
        queue.push(b"after\n");
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), 3);
        queue.flush(PATIENCE);
        let text = written.try_iter().flatten().collect::<Vec<u8>>();
        assert_eq!(String::from_utf8(text).unwrap(), "before\nafter\n");
    }

    #[test]
    fn a_line_that_was_broken_off_is_ended_before_the_next() {
        let mut sink = Vec::new();
        let mut is_mid_line = true;
        assert_eq!(write(&mut sink, b"next\n", &mut is_mid_line), 5);
        assert_eq!((sink.as_slice(), is_mid_line), (&b"\nnext\n"[..], false));
    }
}
