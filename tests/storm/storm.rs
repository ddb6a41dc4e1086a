//! A storm: rows of kills while users and strangers act, and after each row a rest in which everything is counted.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use kube::Client;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::account::{Account, Kind};
use crate::control_plane::ControlPlane;
use crate::count::Count;
use crate::dice::Dice;
use crate::guests::Guests;
use crate::lookout::Lookout;
use crate::losses::losses;
use crate::operator::{Operator, Process};
use crate::outages::Outages;
use crate::plan::Kill;
use crate::proxy::{self, Side};
use crate::strangers::Strangers;
use crate::users::Users;

/// How long a kill waits for the request that it aims at.
const PATIENCE: Duration = Duration::from_secs(6);

/// An attempt whose outcome is unknown takes 45 s, and what a proxy made on top, or nobody claims, is revoked after two
/// minutes and two more looks; hanging calls and back-offs come on top of that.
const REST: Duration = Duration::from_mins(8);

/// Counts hold once nothing has moved for this long.
const STILL: Duration = Duration::from_secs(2);

/// A storm on one control plane, with an account for each dialect.
pub(crate) struct Storm {
    seed: u64,
    pub lookout: Arc<Lookout>,
    pub accounts: Vec<Arc<Account>>,
    pub users: Vec<Users>,
    pub guests: Vec<Guests>,
    pub outages: Vec<Outages>,
    pub strangers: Vec<Strangers>,
    pub kills: Kills,
    /// Where logs are kept.
    pub dir: PathBuf,
    dice: Dice,
    process: Option<Process>,
    operator: Operator,
    /// Last, since the others speak to it.
    _plane: ControlPlane,
}

/// How many kills there were.
#[derive(Debug, Default)]
pub(crate) struct Kills {
    /// At random moments.
    pub random: u64,
    /// Right after a named request.
    pub sighted: u64,
    /// Because the request did not come.
    pub in_vain: u64,
}

impl Kills {
    pub(crate) fn all(&self) -> u64 {
        self.random + self.sighted + self.in_vain
    }
}

impl Storm {
    /// Starts everything, and the operator for the first time. A long storm has what takes minutes to be found out as
    /// well: POSTs that a proxy sends twice, and an exclusive account.
    pub(crate) async fn gather(seed: u64, long: bool) -> Self {
        let plane = ControlPlane::start("storm");
        let admin = client(&plane.kubeconfig).await;
        let lookout = Arc::new(Lookout::new(seed, long));
        let mut kinds = vec![Kind::Current, Kind::Documented];
        kinds.extend(long.then_some(Kind::Exclusive));
        let accounts = join_all((0..).zip(kinds).map(|(index, kind)| {
            Account::start(index, kind, seed, admin.clone(), lookout.clone())
        }))
        .await;
        // They were there first.
        let strangers = |account: &Arc<Account>| Strangers::new(account.clone(), seed);
        let strangers = accounts.iter().map(strangers).collect();
        join_all(accounts.iter().map(|account| account.install())).await;

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let operator = client(&plane.operator_kubeconfig).await;
        let side = Side::Kubernetes(accounts.clone());
        proxy::serve(listener, operator, side, lookout.clone());

        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("storm");
        let platforms: Vec<String> = accounts.iter().map(|a| a.home.base_url.clone()).collect();
        let each = || accounts.iter().map(Arc::clone);
        let mut storm = Self {
            seed,
            users: each().map(|account| Users::new(account, seed)).collect(),
            guests: each().map(|account| Guests::new(account, seed)).collect(),
            outages: each().map(|account| Outages::new(account, seed)).collect(),
            strangers,
            kills: Kills::default(),
            dice: Dice::of(seed, "losses"),
            process: None,
            operator: Operator::new(&dir, &server, &platforms),
            dir,
            lookout,
            accounts,
            _plane: plane,
        };
        storm.start("the first");
        storm
    }

    fn start(&mut self, about: &str) {
        self.lookout.begin_life();
        let about = format!("process {}, {about}", self.lookout.lives());
        self.process = Some(self.operator.start(&about));
    }

    /// One row of kills, with users, guests, outages, strangers and losses all the while.
    pub(crate) async fn blow(&mut self, kills: &[Kill]) {
        for account in &self.accounts {
            account.sandbox.script(losses(&mut self.dice));
        }
        self.lookout.storms(true);
        let stop = CancellationToken::new();
        let users = begin(&mut self.users, |users| users.act(stop.clone()));
        let guests = begin(&mut self.guests, |guests| guests.act(stop.clone()));
        let outages = begin(&mut self.outages, |outages| outages.act(stop.clone()));
        let strangers = begin(&mut self.strangers, |strangers| strangers.act(stop.clone()));
        for kill in kills {
            self.kill(kill).await;
        }
        stop.cancel();
        self.users = end(users).await;
        self.guests = end(guests).await;
        self.outages = end(outages).await;
        self.strangers = end(strangers).await;
        self.lookout.storms(false);
        for account in &self.accounts {
            account.sandbox.script(Vec::new());
        }
    }

    async fn kill(&mut self, kill: &Kill) {
        match kill {
            Kill::After(time) => {
                sleep(*time).await;
                self.kills.random += 1;
            }
            Kill::Sight(aim) => {
                let told = self.lookout.aim(*aim);
                if let Ok(Ok(())) = timeout(PATIENCE, told).await {
                    self.accounts[aim.account].log().killed(aim);
                    self.kills.sighted += 1;
                } else {
                    self.kills.in_vain += 1;
                }
            }
        }
        self.process.take().unwrap().kill();
        self.lookout.end_life();
        self.start(&format!("after a kill {kill}"));
    }

    /// All users and guests delete what they have, as a whole.
    pub(crate) async fn end(&mut self) {
        join_all(self.users.iter_mut().map(Users::leave)).await;
        join_all(self.guests.iter_mut().map(Guests::leave)).await;
    }

    /// Waits until all is at rest, or until nothing will change any more; the counts of all accounts.
    pub(crate) async fn rest(&self) -> Vec<Count> {
        let deadline = Instant::now() + REST;
        loop {
            let still = self.lookout.still_for();
            let created = self.users.iter().zip(&self.guests);
            let created: Vec<_> = created.map(|(u, g)| &u.living | &g.living).collect();
            let pairs = self.accounts.iter().zip(&created);
            let counts = join_all(pairs.map(|(a, created)| Count::take(a, created))).await;
            for (account, count) in self.accounts.iter().zip(&counts) {
                account.delete_orphans(&count.orphans).await;
                account.revoke_by_hand(&count.unclaimed);
            }
            let at_rest = counts.iter().all(Count::is_at_rest);
            let exact = counts.iter().all(Count::is_exact);
            let over = Instant::now() > deadline;
            if at_rest && (exact && still > STILL || over) {
                return counts;
            }
            let restless: Vec<_> = counts.iter().map(|count| &count.restless).collect();
            assert!(
                !over,
                "no rest after {REST:?} (seed {}; logs in {}): {restless:#?}",
                self.seed,
                self.dir.display()
            );
            sleep(Duration::from_millis(500)).await;
        }
    }
}

/// Has all of them act, each in a task of its own.
fn begin<A, F>(actors: &mut Vec<A>, act: impl Fn(A) -> F) -> Vec<JoinHandle<A>>
where
    A: Send + 'static,
    F: Future<Output = A> + Send + 'static,
{
    actors
        .drain(..)
        .map(|actor| tokio::spawn(act(actor)))
        .collect()
}

/// Waits until all of them have ended.
async fn end<A>(tasks: Vec<JoinHandle<A>>) -> Vec<A> {
    let ended = join_all(tasks).await.into_iter();
    ended.map(Result::unwrap).collect()
}

/// A client that repeats nothing.
async fn client(kubeconfig: &std::path::Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options);
    let mut config = config.await.unwrap();
    config.default_retry = false;
    ClientBuilder::try_from(config).unwrap().build()
}
