//! The rollup of the demo: its users, its operator, and the exit.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dac_chain::testing::Anvil;
use dac_client::files::ProofFile;
use dac_tests::command::{CommandLine, number, text};
use dac_tests::configuration::{KeyFiles, Submission};
use dac_tests::operator::{Operator, Wallet, keys_folder};
use dac_tests::{Context, Result};
use dac_types::{Address, Geometry};
use reference_rollup::files::{AccountFile, RollupFile};
use reference_rollup::l1::RollupReader;
use reference_rollup::prover::Keys;
use reference_rollup::sequencer::Sealed;
use reference_rollup::transaction::Destination;

use crate::committee::{K, N, keygen};
use crate::page::{Page, typed};

/// The time without settlement after which anyone may freeze, in seconds. On a real chain it would
/// be several days.
const FREEZE_DELAY_SECONDS: u64 = 20 * 60;
/// The number of transfers in the second batch.
const TRANSFERS: usize = 16;
/// The deposit of each user, in gwei.
const DEPOSIT_GWEI: u64 = 1_000_000;
/// The users. The last one's deposit comes too late for a batch.
const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// The deployed rollup.
pub(crate) struct Rollup {
    program: CommandLine,
    folder: PathBuf,
    pub(crate) settlement: Address,
    operator: Option<Operator>,
    wallets: Vec<Wallet>,
}

/// The settlement of a batch.
pub(crate) struct Settled {
    pub(crate) transaction: String,
    pub(crate) gas: u64,
    pub(crate) prove_ms: u64,
}

/// The result of an exit.
pub(crate) struct Left {
    pub(crate) state_root: String,
    pub(crate) transaction: String,
    pub(crate) paid_gwei: u64,
}

impl Rollup {
    /// Deploys verifier and settlement contract, and makes the users' keys.
    pub(crate) async fn deploy(
        page: &Page,
        dac: &CommandLine,
        folder: &Path,
        anvil: &Anvil,
        keys: Arc<Keys>,
    ) -> Result<Self> {
        let program = CommandLine::new("reference-rollup", folder)?
            .with("DAC_DEPLOYMENT", "deployment.json")
            .with("ROLLUP_FILE", "rollup.json");
        let line = format!(
            "deploy --key owner.json --password-file owner.password --keys-dir {} --freeze-delay 20m --exit-window 20m --verifier-delay 1h --out rollup.json",
            keys_folder().display()
        );
        let deployed = typed(page, &program, &line).await?;
        let file = RollupFile::read(&folder.join("rollup.json"))?;
        page.say(format!(
            "settlement {}, Groth16 verifier {}, {} gas",
            file.settlement,
            file.verifier,
            number(&deployed, "/gas_used")?
        ));
        let mut wallets = Vec::new();
        for user in USERS {
            let address: Address =
                keygen(dac, "ethereum", &format!("{user}-l1")).await?.parse().context(user)?;
            anvil.fund(address).await;
            let line = format!("keygen --out {user}.json --recipient {address}");
            program.expect(line.split_whitespace()).await?;
            let AccountFile { key, recipient } = AccountFile::read(&folder.join(format!("{user}.json")))?;
            wallets.push(Wallet::new(key, recipient));
        }
        let reader = RollupReader::new(anvil.endpoints(), file.settlement);
        let geometry = Geometry::new(N, K)?;
        let operator = Operator::new(anvil.chain_id(), reader, file.deployed_at_block, geometry, keys);
        Ok(Self {
            program,
            folder: folder.to_owned(),
            settlement: file.settlement,
            operator: Some(operator),
            wallets,
        })
    }

    fn operator(&mut self) -> Result<&mut Operator> {
        self.operator.as_mut().context("the operator")
    }

    /// Deposits a user's money on L1.
    pub(crate) async fn deposit(&self, page: &Page, user: usize) -> Result<()> {
        let name = USERS[user];
        let line = format!(
            "deposit --account-key {name}.json --gwei {DEPOSIT_GWEI} --key {name}-l1.json --password-file {name}-l1.password"
        );
        typed(page, &self.program, &line).await?;
        Ok(())
    }

    /// Makes the first batch, which takes two deposits.
    pub(crate) async fn first_batch(&mut self) -> Result<Sealed> {
        self.operator()?.batch(&[]).await
    }

    /// Makes the second batch, with a deposit, transfers and withdrawals.
    pub(crate) async fn second_batch(&mut self) -> Result<Sealed> {
        let operator = self.operator.as_mut().context("the operator")?;
        let domain = operator.domain();
        let (alice, bob) = (0, 1);
        for user in [alice, bob] {
            self.wallets[user].index = operator.find(&self.wallets[user])?;
        }
        let mut transactions = Vec::new();
        for transfer in 0..TRANSFERS {
            let (from, to) = if transfer % 3 == 2 { (bob, alice) } else { (alice, bob) };
            let to = Destination::Account(self.wallets[to].index);
            transactions.push(self.wallets[from].pays(domain, to, 1_000 + transfer as u64));
        }
        let l1 = Destination::L1(self.wallets[bob].recipient);
        transactions.push(self.wallets[bob].pays(domain, l1, 50_000));
        operator.batch(&transactions).await
    }

    /// Submits a batch and proves it at the same time; then certificate and proof settle it.
    pub(crate) async fn settle(
        &mut self,
        page: &Page,
        dac: &CommandLine,
        sealed: &Sealed,
        aggregator: (&str, &str),
    ) -> Result<Settled> {
        let batch_number = sealed.number();
        let payload = format!("batch-{batch_number}.bin");
        fs::write(self.folder.join(&payload), &sealed.payload).context(&payload)?;
        let poster = KeyFiles { keystore: "poster.json".into(), password: "poster.password".into() };
        let (api, disperser) = aggregator;
        let submission = Submission {
            payload: Path::new(&payload),
            api,
            disperser,
            rollup: self.settlement,
            number: batch_number,
            poster: &poster,
            wait: "certified",
        };
        let mut line = submission.arguments();
        let batch_hash = sealed.batch_hash().to_string();
        for word in ["--hash-kind", "opaque", "--batch-hash", &batch_hash, "--posting", "settle"] {
            line.push(OsString::from(word));
        }
        page.say(format!("$ {}", dac.shown(&line)));
        // Certification and proving run at the same time.
        let operator = self.operator.as_ref().context("the operator")?;
        let (submitted, proved) = tokio::try_join!(dac.expect(&line), operator.prove(sealed))?;
        let digest = text(&submitted, "/digest")?.to_owned();
        let prove_ms = u64::try_from(proved.took.as_millis())?;
        page.say(format!("certified meanwhile, and proved in {prove_ms} ms: batch {digest}"));
        let file = format!("batch-{batch_number}.proof.json");
        let proof = ProofFile { transition: sealed.transition, proof: proved.proof.0 };
        fs::write(self.folder.join(&file), proof.to_json()).context(&file)?;
        let line = format!(
            "submit-proof {digest} --proof {file} --aggregator {api} --poster poster.json --poster-password-file poster.password --wait settled"
        );
        let settled = typed(page, dac, &line).await?;
        let transaction = text(&settled, "/settlement/transaction")?.to_owned();
        let gas = number(&settled, "/settlement/gas_used")?;
        page.say(format!("certificate and proof settled together: transaction {transaction}, {gas} gas"));
        Ok(Settled { transaction, gas, prove_ms })
    }

    /// Drops the operator with all its state.
    pub(crate) fn lose_operator(&mut self) {
        self.operator = None;
    }

    /// Moves L1's time forward, and freezes the rollup from an account that is not the operator's.
    pub(crate) async fn freeze(&self, page: &Page, anvil: &Anvil) -> Result<()> {
        anvil.advance(FREEZE_DELAY_SECONDS + 1).await;
        page.say(format!("{} minutes pass on L1, and nothing settles", FREEZE_DELAY_SECONDS / 60));
        let line = "freeze --key carol-l1.json --password-file carol-l1.password";
        let frozen = typed(page, &self.program, line).await?;
        page.say(format!("frozen: {}", text(&frozen, "/reason")?));
        Ok(())
    }

    /// Lets a user exit with nothing but L1 and the remaining members.
    pub(crate) async fn leave(&self, page: &Page, dac: &CommandLine) -> Result<Left> {
        typed(page, dac, &format!("retrieve --rollup {} --out-dir batches", self.settlement)).await?;
        let line =
            "rebuild batches --account-key alice.json --proof-out exit.json --withdrawals-out withdrawals";
        let rebuilt = typed(page, &self.program, line).await?;
        let state_root = text(&rebuilt, "/state_root")?.to_owned();
        page.say(format!("the rebuilt state has the root that L1 settled: {state_root}"));
        let line = "exit --proof exit.json --key carol-l1.json --password-file carol-l1.password";
        let left = typed(page, &self.program, line).await?;
        let (transaction, paid) = (text(&left, "/transaction")?.to_owned(), number(&left, "/paid_gwei")?);
        page.say(format!("alice has her {paid} gwei on L1: transaction {transaction}"));
        Ok(Left { state_root, transaction, paid_gwei: paid })
    }

    /// Claims a withdrawal that a batch granted, with data from the payloads.
    pub(crate) async fn claim(&self, page: &Page) -> Result<()> {
        let line = "claim --withdrawals withdrawals/withdrawals-000002.json --key bob-l1.json --password-file bob-l1.password";
        let claimed = typed(page, &self.program, line).await?;
        let paid = claimed.pointer("/paid").and_then(serde_json::Value::as_array).context("/paid")?;
        page.say(format!("{} of Bob's withdrawals paid on L1", paid.len()));
        Ok(())
    }

    /// Refunds a deposit that no batch took.
    pub(crate) async fn refund(&self, page: &Page, deposit: u64) -> Result<()> {
        let line = format!("refund --number {deposit} --key dave-l1.json --password-file dave-l1.password");
        typed(page, &self.program, &line).await?;
        Ok(())
    }
}
