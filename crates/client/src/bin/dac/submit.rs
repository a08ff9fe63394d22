//! `dac submit`: submits a rollup's payloads to an aggregator.

mod payloads;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use dac_chain::EcdsaKey;
use dac_cli::{Exit, Failure, Output, unix_now};
use dac_client::files::{CertificateFile, SubmissionFile, is_standard_stream, write_atomically};
use dac_client::verify::verify_in_registry;
use dac_client::{
    AggregatorClient, BatchSelector, BatchStatus, EndpointUrl, SubmissionBuilder, SubmitOptions,
    SubmitProgress, check_certified_payload,
};
use dac_runtime::config::Period;
use dac_types::{Address, AdmittedRollup, B256, BatchDigest, HashKind};
use serde_json::{Value, json};

use crate::context::{Chain, ChainArgs, DialArgs, address};
use crate::deadline::Deadline;
use crate::exit::CliError;
use crate::keys;
use crate::output::stdout_taken_by;
use crate::posting::Posting;
use crate::status::{self, Goal};
use crate::submit::payloads::PayloadFile;
use crate::terms::Wish;

/// The lifetime below which the command warns: such a batch expires before users can react to a
/// problem.
const SHORT_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// What the batch hash is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The rollup's own commitment, given by --batch-hash. Members hold a shard only; the validity
    /// proof binds the payload.
    Opaque,
    /// keccak256 of the payload: every signer holds the payload and recomputes it.
    Keccak256,
    /// SHA-256 of the payload: every signer holds the payload and recomputes it.
    Sha256,
}

impl From<Kind> for HashKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Opaque => Self::Opaque,
            Kind::Keccak256 => Self::Keccak256,
            Kind::Sha256 => Self::Sha256,
        }
    }
}

/// How far to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WaitFor {
    /// Until the aggregator has it on durable storage.
    Received,
    /// Until a quorum signed; the certificate is then verified and compared with the payload.
    Certified,
    /// Until its validity proof is there, too; the proof is handed in by `dac submit-proof`.
    Proved,
    /// Until it is recorded on L1; with --posting settle, until its settlement is in a block.
    Posted,
    /// Until its rollup's contract has settled it for good.
    Settled,
}

/// Submit a payload: sign the order with the poster's key, hand it to an aggregator, wait.
///
/// Sending the same submission twice gives the same batch. With --submission the signed order is
/// kept in a file before the first byte is sent: run the same command again after any failure and
/// it goes on where it was.
///
/// Several files are submitted one after the other under numbers that rise from --batch-number, and
/// the key is opened once. Each waits until the one before has reached the state that --wait names.
/// The first that fails ends the command with its exit code: a rollup's batches build on one
/// another, so those behind one that is refused are not submitted. With --json each prints its
/// document in one line.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dac submit payload.bin --deployment deployment.json \\
      --aggregator https://aggregator.example.org:7000 --disperser $DISPERSER \\
      --rollup $ROLLUP --batch-number 7 \\
      --poster poster.json --poster-password-file poster.password \\
      --submission batch-7.json --wait certified --certificate batch-7.certificate.json

  # A rollup whose proof binds the payload itself (hash kind OPAQUE) gives its own commitment.
  dac submit payload.bin --deployment deployment.json \\
      --aggregator https://aggregator.example.org:7000 --disperser $DISPERSER \\
      --rollup $ROLLUP --batch-number 8 \\
      --poster poster.json --poster-password-file poster.password \\
      --hash-kind opaque --batch-hash $COMMITMENT --posting settle

  # Three batches, numbered 9 to 11.
  dac submit 9.bin 10.bin 11.bin --deployment deployment.json \\
      --aggregator https://aggregator.example.org:7000 --disperser $DISPERSER \\
      --rollup $ROLLUP --batch-number 9 \\
      --poster poster.json --poster-password-file poster.password \\
      --submission 'batch-{}.json' --certificate 'batch-{}.certificate.json'")]
pub(crate) struct Submit {
    /// The payload, 1 byte to 64 MiB; `-` is standard input. Several files are batches of rising
    /// numbers.
    #[arg(value_name = "FILE", required = true)]
    payloads: Vec<PathBuf>,
    /// URL of the aggregator.
    #[arg(long, env = "DAC_AGGREGATOR", value_name = "URL")]
    aggregator: EndpointUrl,
    /// The aggregator's signing address: only it may disperse this submission.
    #[arg(long, env = "DAC_DISPERSER", value_name = "ADDRESS", value_parser = address)]
    disperser: Address,
    /// The rollup's settlement contract.
    #[arg(long, env = "DAC_ROLLUP", value_name = "ADDRESS", value_parser = address)]
    rollup: Address,
    /// The batch's number; if there are several payloads, that of the first.
    #[arg(long, value_name = "NUMBER")]
    batch_number: u64,
    /// Web3 keystore of the rollup's poster.
    #[arg(long, env = "DAC_POSTER", value_name = "FILE")]
    poster: Option<PathBuf>,
    /// File with the password of that keystore.
    #[arg(long, env = "DAC_POSTER_PASSWORD_FILE", value_name = "FILE")]
    poster_password_file: Option<PathBuf>,
    /// How the batch hash commits to the payload. The default needs no support by the rollup's
    /// proof system.
    #[arg(long, value_enum, default_value = "keccak256")]
    hash_kind: Kind,
    /// The rollup's own commitment to the payload; for the other kinds it is computed, and compared
    /// if given.
    #[arg(long, value_name = "HASH", required_if_eq("hash_kind", "opaque"))]
    batch_hash: Option<B256>,
    /// How long members serve the batch, from now.
    #[arg(long, default_value = "14d", value_name = "TIME")]
    expires_in: Period,
    /// How long the order is valid, from now; at most a day.
    #[arg(long, default_value = "1h", value_name = "TIME")]
    submit_within: Period,
    /// Digest of the former batch of this number that this one replaces.
    #[arg(long, value_name = "DIGEST")]
    replaces: Option<BatchDigest>,
    /// File of the signed submission: used if it exists, written first if it does not. `{}` in its
    /// name stands for the batch number.
    #[arg(long, value_name = "FILE")]
    submission: Option<PathBuf>,
    /// How the certified batch comes to L1.
    #[arg(long, value_enum, default_value = "record")]
    posting: Posting,
    /// How far to wait.
    #[arg(long, value_enum, default_value = "certified")]
    wait: WaitFor,
    /// How long to wait for each payload, everything counted: asking L1, handing it in, waiting.
    #[arg(long, default_value = "10m", value_name = "TIME")]
    timeout: Period,
    /// How long to repeat a submission that fails for a passing reason.
    #[arg(long, default_value = "1m", value_name = "TIME")]
    retry_for: Period,
    /// Write the certificate to this file; waits for it at least. `-` is standard output, `{}` in
    /// the name stands for the batch number.
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    #[command(flatten)]
    chain: ChainArgs,
    #[command(flatten)]
    dial: DialArgs,
}

/// The state that all payloads of one command share.
struct Session {
    chain: Chain,
    client: AggregatorClient,
    /// The rollup's terms and its batch signer; none if all submissions are signed already.
    signer: Option<Signer>,
}

struct Signer {
    terms: AdmittedRollup,
    /// The batch signer's key. It is opened once, for the first submission that is signed.
    poster: Option<EcdsaKey>,
}

impl Submit {
    /// Whether the command prints more than one result.
    pub(crate) const fn has_several_results(&self) -> bool {
        self.payloads.len() > 1
    }

    pub(crate) async fn run(self, output: &Output) -> Result<ExitCode, CliError> {
        let mut deadline = Deadline::new(self.timeout);
        self.check_arguments()?;
        let (submission, certificate) = (self.submission.as_deref(), self.certificate.as_deref());
        let files = payloads::numbered(&self.payloads, self.batch_number, submission, certificate)?;
        let output = &certificate.map_or(*output, |path| stdout_taken_by(path, *output));
        let first = files[0].read().map_err(|error| self.about(&files[0], error))?;
        let lengths = self.lengths(&files, first.len() as u64)?;
        let mut read = Some(first);
        let client = self.dial.aggregator(&self.aggregator)?;
        let chain = deadline.of("asking L1", self.chain.connect()).await?;
        let signer = if files.iter().all(PayloadFile::is_signed) {
            None
        } else {
            // A limit on length may refuse the longest payload alone.
            let longest = (0..files.len()).max_by_key(|place| lengths[*place]).unwrap_or_default();
            let wish = self.wish(lengths[longest]);
            let terms = deadline.of("asking L1", wish.check(&chain)).await;
            let terms = terms.map_err(|error| self.about(&files[longest], error))?;
            Some(Signer { terms, poster: None })
        };
        let mut session = Session { chain, client, signer };
        for (place, file) in files.iter().enumerate() {
            if place > 0 {
                deadline = Deadline::new(self.timeout);
            }
            let payload = match read.take() {
                Some(payload) => Ok(payload),
                None => file.read(),
            };
            let done = match payload {
                Ok(payload) => Box::pin(self.submit(&mut session, file, &payload, deadline, output)).await,
                Err(error) => Err(error),
            };
            done.map_err(|error| self.behind_others(&files, place, error))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// If there are several payloads, names the one that failed.
    fn about(&self, file: &PayloadFile, error: CliError) -> CliError {
        let mut failure = error.0;
        let path = file.path.display().to_string();
        if self.has_several_results() && !failure.message.starts_with(&format!("{path}: ")) {
            failure.message = format!("{path}, batch {}: {}", file.number, failure.message);
        }
        failure.into()
    }

    /// If earlier payloads are done, adds a hint how to continue with this one.
    fn behind_others(&self, files: &[PayloadFile], place: usize, error: CliError) -> CliError {
        let file = &files[place];
        let mut failure = self.about(file, error).0;
        if place > 0 {
            let go_on = format!(
                "{place} of {} payloads are done: go on from {} with --batch-number {}",
                files.len(),
                file.path.display(),
                file.number
            );
            failure.hint = Some(failure.hint.map_or(go_on.clone(), |hint| format!("{hint}; {go_on}")));
        }
        failure.into()
    }

    /// Returns the lengths of all payloads as far as they are known; all are checked before one is
    /// sent.
    fn lengths(&self, files: &[PayloadFile], first: u64) -> Result<Vec<u64>, CliError> {
        let later = files.iter().skip(1).map(|file| {
            let length = file.length().map_err(|error| self.about(file, error))?;
            Ok(length.unwrap_or_default())
        });
        std::iter::once(Ok(first)).chain(later).collect()
    }

    /// Submits one payload and waits for it.
    async fn submit(
        &self,
        session: &mut Session,
        file: &PayloadFile,
        payload: &Bytes,
        deadline: Deadline,
        output: &Output,
    ) -> Result<(), CliError> {
        let (order, is_admitted) = match self.kept_order(&session.chain, file, payload, output)? {
            Some(order) => (order, false),
            None => (self.sign(session, file, payload, output)?, true),
        };
        let (chain, client) = (&session.chain, &session.client);

        let bar = output.bytes_bar(payload.len() as u64, "submitting");
        let options = SubmitOptions {
            posting: self.posting.into(),
            retry_for: self.retry_for.0,
            limit: deadline.left(),
            is_admitted,
            ..SubmitOptions::default()
        };
        let mut told = None;
        let received = client
            .submit(&order.domain, &order.signed, payload, options, |progress| match progress {
                SubmitProgress::Sent(bytes) => bar.set_position(bytes),
                SubmitProgress::Retrying { error, .. } => {
                    let error = error.to_string();
                    if told.as_ref() != Some(&error) {
                        bar.suspend(|| output.note(format!("{error}; trying again")));
                        told = Some(error);
                    }
                }
            })
            .await;
        bar.finish_and_clear();
        let mut status = received?;
        let selector = BatchSelector::Submission(status.submission_digest);
        output.note(format!("received, submission digest {}", status.submission_digest));

        let mut document = status::document(&status);
        if let Some(goal) = self.goal() {
            status = status::wait(output, client, selector, goal, deadline.left()).await?;
            document = status::document(&status);
            let certificate = self.certified(chain, client, selector, &order, payload);
            let certificate = Box::pin(deadline.of("verifying the certificate", certificate)).await?;
            document["certificate"] = serde_json::from_str(&certificate.to_json()).unwrap_or(Value::Null);
            if let Some(path) = &file.certificate {
                // Another run writes the same certificate, or another valid one.
                write_atomically(path, certificate.to_json().as_bytes(), true)?;
                document["certificate_file"] = json!(path);
            }
        }
        document["file"] = json!(file.path);
        output.result(document, || {
            if self.has_several_results() { line(file, &status) } else { status::text(&status) }
        });
        Ok(())
    }

    fn goal(&self) -> Option<Goal> {
        match (self.wait, &self.certificate) {
            (WaitFor::Received, None) => None,
            (WaitFor::Received, Some(_)) | (WaitFor::Certified, _) => Some(Goal::Certified),
            (WaitFor::Proved, _) => Some(Goal::Proved),
            (WaitFor::Posted, _) => Some(Goal::Posted),
            (WaitFor::Settled, _) => Some(Goal::Settled),
        }
    }

    /// Checks that --submission names a file, and that options for one batch are not used with
    /// several.
    fn check_arguments(&self) -> Result<(), Failure> {
        if self.submission.as_deref().is_some_and(is_standard_stream) {
            return Err(Failure::usage("--submission: a run after a failure reads it again: give a file"));
        }
        let of_one = [("--batch-hash", self.batch_hash.is_some()), ("--replaces", self.replaces.is_some())];
        match of_one.iter().find(|(_, is_given)| *is_given && self.has_several_results()) {
            Some((option, _)) => Err(Failure::usage(format!("{option} is of one batch: give one FILE"))),
            None => Ok(()),
        }
    }

    fn wish(&self, payload_length: u64) -> Wish {
        Wish {
            rollup: self.rollup,
            payload_length,
            lifetime_seconds: self.expires_in.0.as_secs(),
            posting: self.posting.into(),
        }
    }

    /// Reads the signed submission of an earlier run from its file.
    fn kept_order(
        &self,
        chain: &Chain,
        file: &PayloadFile,
        payload: &Bytes,
        output: &Output,
    ) -> Result<Option<SubmissionFile>, CliError> {
        let Some(path) = file.submission.as_deref().filter(|path| path.exists()) else { return Ok(None) };
        let order = SubmissionFile::read(path)?;
        let submission = &order.signed.submission;
        let differs = [
            (order.domain != chain.domain(), "chain or registry"),
            (submission.rollup != self.rollup, "rollup"),
            (submission.batch_number != file.number, "batch number"),
            (submission.disperser != self.disperser, "disperser"),
        ];
        if let Some((_, field)) = differs.iter().find(|(differs, _)| *differs) {
            let message = format!("{} is the submission of another batch: {field} differs", path.display());
            return Err(Failure::usage(message).hint("name another file for --submission").into());
        }
        dac_client::check_payload(&order.signed, payload)?;
        output.note(format!("using the submission in {}", path.display()));
        Ok(Some(order))
    }

    /// Signs the submission and writes it to its file.
    fn sign(
        &self,
        session: &mut Session,
        file: &PayloadFile,
        payload: &Bytes,
        output: &Output,
    ) -> Result<SubmissionFile, CliError> {
        let domain = session.chain.domain();
        let poster = match &mut session.signer {
            Some(signer) => self.open(signer, output)?,
            None => return Err(Failure::usage("the kept submission is gone").into()),
        };
        let now = unix_now();
        let mut builder = SubmissionBuilder::new(domain, self.rollup, file.number, self.disperser, now)
            .hash_kind(self.hash_kind.into())
            .expires_at(now.saturating_add(self.expires_in.0.as_secs()))
            .submit_before(now.saturating_add(self.submit_within.0.as_secs()));
        if let Some(hash) = self.batch_hash {
            builder = builder.batch_hash(hash);
        }
        if let Some(former) = self.replaces {
            builder = builder.replaces(former);
        }
        let signed = builder.sign(payload, |digest| keys::sign(poster, digest))?;
        let order = SubmissionFile { domain, signed };
        if let Some(path) = &file.submission {
            write_atomically(path, order.to_json().as_bytes(), false)?;
        }
        Ok(order)
    }

    /// Opens the batch signer's key when it is first needed.
    fn open<'a>(&self, signer: &'a mut Signer, output: &Output) -> Result<&'a EcdsaKey, CliError> {
        let poster = match signer.poster.take() {
            Some(poster) => poster,
            None => self.poster_of(&signer.terms, output)?,
        };
        Ok(signer.poster.insert(poster))
    }

    /// Opens the batch signer's key and checks it against the rollup's terms.
    fn poster_of(&self, terms: &AdmittedRollup, output: &Output) -> Result<EcdsaKey, CliError> {
        let poster = self.poster_key(output)?;
        let (key, wanted) = (poster.address(), terms.poster);
        if key != wanted {
            let message =
                format!("--poster is the key of {key}, the poster of rollup {} is {wanted}", self.rollup);
            return Err(Failure::new(Exit::Refused, message).hint("check --poster and --rollup").into());
        }
        if self.expires_in.0 < SHORT_LIFETIME {
            output.warn(format!("members keep this batch for {} only", self.expires_in));
        }
        Ok(poster)
    }

    fn poster_key(&self, output: &Output) -> Result<EcdsaKey, Failure> {
        match (&self.poster, &self.poster_password_file) {
            (Some(poster), Some(password)) => keys::open_ethereum(poster, password, output),
            _ => Err(Failure::usage("no poster's key is given, and no signed submission exists")
                .hint("--poster KEYSTORE --poster-password-file FILE")),
        }
    }

    /// Fetches the certificate, verifies it against the registry and compares it with the payload.
    /// The aggregator is not trusted.
    async fn certified(
        &self,
        chain: &Chain,
        client: &AggregatorClient,
        selector: BatchSelector,
        order: &SubmissionFile,
        payload: &Bytes,
    ) -> Result<CertificateFile, CliError> {
        let certificate =
            CertificateFile { domain: order.domain, certificate: client.certificate(selector).await? };
        let mut view = chain.view().await?;
        // The epoch may have begun in a block that the endpoint did not know a moment ago.
        for _ in 0..5 {
            if view.committee(certificate.certificate.header.epoch).is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            view = chain.view().await?;
        }
        let failed = |problem: String| {
            Failure::new(Exit::Failed, format!("the aggregator's certificate is of no use: {problem}"))
                .hint("do not post it; submit through another aggregator")
        };
        verify_in_registry(&certificate, &view, unix_now()).map_err(|error| failed(error.to_string()))?;
        let header = &certificate.certificate.header;
        let committee = view.committee(header.epoch).ok_or_else(|| failed("unknown epoch".to_owned()))?;
        check_certified_payload(header, committee.quorum().geometry(), &order.signed.submission, payload)
            .map_err(|error| failed(error.to_string()))?;
        Ok(certificate)
    }
}

/// One line for one of several batches.
fn line(file: &PayloadFile, status: &BatchStatus) -> String {
    let digest = status.digest.map_or("not encoded yet".to_owned(), |digest| format!("digest {digest}"));
    format!("{}: batch {} {}, {digest}", file.path.display(), file.number, status.state.name())
}
