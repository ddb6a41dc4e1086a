//! A process: our own operator, woken as `controller/wiring.rs` wakes it, and its crashes.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::Secret;
use kube::Resource;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::reflector::{ObjectRef, Store, store::Writer};
use kube::runtime::watcher::Event;
use platform_token_operator::api::{
    AccountKey, AccountKind, AttemptId, ClusterPlatformAccount, PlatformAccount, PlatformToken,
};
use platform_token_operator::clock::Clock;
use platform_token_operator::controller::{
    BaseUrl, Operator, Platforms, Served, Settings, Wakes, Watched,
};
use platform_token_operator::platform::Transport;
use platform_token_operator::telemetry::Telemetry;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

use super::apiserver::{Key, Kind};
use super::chance::Chance;
use super::election::stand;
use super::network::{Life, Wire};
use super::queue::{Item, Queue};
use super::watches::{Scope, Watch};
use super::world::{BASE_URL, OWN_NAMESPACE, World};

/// Purpose of the chance that decides how long starts take.
const START: u64 = 3;

/// Purpose of the chance that makes the ids of attempts.
const ATTEMPTS: u64 = 4;

/// Lives for ever: a crash, or a lost lease, ends one life, and soon another begins, which knows nothing of the former.
pub(crate) async fn run(world: Arc<World>, process: usize) {
    for number in 1.. {
        let life = Life::new(process, number);
        world.state().lives[process] = number;
        tokio::select! {
            biased;
            () = life.crashed() => {}
            () = stand(&world, &life), if world.setup.elects => {}
            () = live(&world, &life), if !world.setup.elects => {}
        }
        world.state().resting[process] = false;
        world.leads(process, false);
        world.remark(format!("process {process} ends"));
        let mut chance = Chance::of(
            world.setup.seed,
            &[START, process as u64, u64::from(number)],
        );
        sleep(chance.between(Duration::from_millis(500), Duration::from_secs(20))).await;
        world.remark(format!("process {process} begins anew"));
    }
}

/// Works until it crashes.
pub(crate) async fn live(world: &Arc<World>, life: &Arc<Life>) {
    let mut process = Process::start(world, life);
    let mut orphans = tokio::time::interval(Operator::LOOK_FOR_ORPHANS);
    loop {
        let change = world.next_change();
        process.work();
        let arrival = process.next_arrival();
        let due = process.queue.next_due();
        let orphans_left = !process.operator.orphans().is_empty();
        let nothing_left = !orphans_left && !process.owes();
        let resting = arrival.is_none() && nothing_left && process.queue.is_at_rest();
        world.state().resting[life.process] = resting;
        tokio::select! {
            biased;
            Some(done) = process.running.next() => process.queue.finish(&done.0, done.1),
            Some(account) = process.wakes.accounts.recv() => process.queue.wake(Item::Account(account)),
            Some(account) = process.wakes.tokens.recv() => process.wake_users(&account),
            Some(token) = process.wakes.called.recv() => process.queue.wake(token_item(&token)),
            Some(secret) = process.wakes.credentials.recv() => process.watch_credentials(&secret),
            () = at(arrival) => process.take_in(),
            () = at(due) => {}
            _ = orphans.tick() => process.wake_loose_ends(),
            () = change => {}
        }
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// A look at one object, and when to look again.
type Look = BoxFuture<'static, (Item, Option<Duration>)>;

struct Process {
    world: Arc<World>,
    /// Tells the chances of this life from those of others.
    stream: [u64; 2],
    operator: Operator,
    wakes: Wakes,
    queue: Queue,
    running: FuturesUnordered<Look>,
    tokens: Cache<PlatformToken>,
    accounts: Cache<PlatformAccount>,
    cluster_accounts: Cache<ClusterPlatformAccount>,
    generated: Watch,
    ledger: Watch,
    credentials: BTreeMap<(String, String), Watch>,
}

impl Process {
    fn start(world: &Arc<World>, life: &Arc<Life>) -> Self {
        let stream = [life.process as u64, u64::from(life.number)];
        let client = world.kubernetes(life);
        let cluster = {
            let store = world.store();
            let namespace = store.object(&Key::new(Kind::Namespace, "", "kube-system"));
            uid(namespace.expect("every cluster has it"))
        };
        let (operator, caches, wakes) = Operator::new(
            client,
            cluster,
            settings(world, life, stream),
            Arc::new(Telemetry::default()),
        );
        let (generated, listed) = Watch::begin(world, Scope::Generated, &[stream[0], stream[1], 0]);
        let purpose = [stream[0], stream[1], u64::MAX];
        let (ledger, entries) = Watch::begin(world, Scope::Ledger, &purpose);
        let mut process = Self {
            tokens: Cache::new(world, Kind::Token, caches.tokens, stream),
            accounts: Cache::new(world, Kind::Account, caches.namespaced, stream),
            cluster_accounts: Cache::new(world, Kind::ClusterAccount, caches.cluster, stream),
            world: world.clone(),
            stream,
            operator,
            wakes,
            queue: Queue::default(),
            running: FuturesUnordered::new(),
            generated,
            ledger,
            credentials: BTreeMap::new(),
        };
        for event in listed {
            process.see_generated(event);
        }
        for event in entries {
            process.see_entry(event);
        }
        let (accounts, cluster, tokens) = (
            process.accounts.list(),
            process.cluster_accounts.list(),
            process.tokens.list(),
        );
        process.see_accounts(accounts);
        process.see_cluster_accounts(cluster);
        process.see_tokens(tokens);
        process.operator.all_is_listed();
        process
    }

    /// Looks at what is due.
    fn work(&mut self) {
        for item in self.queue.start() {
            let operator = self.operator.clone();
            let look: Option<Look> = match &item {
                Item::Token(namespace, name) => {
                    let token = self
                        .tokens
                        .reader
                        .get(&ObjectRef::new(name).within(namespace));
                    token.map(|token| -> Look {
                        let item = item.clone();
                        Box::pin(async move { (item, operator.token(token).await) })
                    })
                }
                Item::Orphan(namespace, name) => {
                    let (namespace, name, item) = (namespace.clone(), name.clone(), item.clone());
                    Some(Box::pin(async move {
                        operator.finish_orphan(&namespace, &name).await;
                        (item, None)
                    }))
                }
                Item::Entry(name) => {
                    let (name, item) = (name.clone(), item.clone());
                    Some(Box::pin(async move {
                        operator.pay(&name).await;
                        (item, None)
                    }))
                }
                Item::Account(key) => self.look_at_account(operator, key, &item),
            };
            match look {
                Some(look) => self.running.push(look),
                None => self.queue.finish(&item, None),
            }
        }
    }

    fn look_at_account(&self, operator: Operator, key: &AccountKey, item: &Item) -> Option<Look> {
        let item = item.clone();
        match key.kind {
            AccountKind::PlatformAccount => {
                let namespace = key.namespace.as_deref().unwrap_or_default();
                let reference = ObjectRef::new(&key.name).within(namespace);
                let account = self.accounts.reader.get(&reference)?;
                Some(Box::pin(async move {
                    (item, Some(operator.account(account).await))
                }))
            }
            AccountKind::ClusterPlatformAccount => {
                let account = self
                    .cluster_accounts
                    .reader
                    .get(&ObjectRef::new(&key.name))?;
                Some(Box::pin(async move {
                    (item, Some(operator.cluster_account(account).await))
                }))
            }
        }
    }

    fn next_arrival(&mut self) -> Option<Instant> {
        let watches = [
            &mut self.tokens.watch,
            &mut self.accounts.watch,
            &mut self.cluster_accounts.watch,
            &mut self.generated,
            &mut self.ledger,
        ];
        let world = &self.world;
        let due = watches
            .into_iter()
            .chain(self.credentials.values_mut())
            .filter_map(|watch| watch.due(world));
        due.min()
    }

    /// Takes in the events that have arrived.
    fn take_in(&mut self) {
        if let Some(event) = self.accounts.watch.arrived() {
            self.see_accounts(vec![event]);
        }
        if let Some(event) = self.cluster_accounts.watch.arrived() {
            self.see_cluster_accounts(vec![event]);
        }
        if let Some(event) = self.tokens.watch.arrived() {
            self.see_tokens(vec![event]);
        }
        if let Some(event) = self.generated.arrived() {
            self.see_generated(event);
        }
        if let Some(event) = self.ledger.arrived() {
            self.see_entry(event);
        }
        let credentials: Vec<_> = self.credentials.keys().cloned().collect();
        for secret in credentials {
            let watch = self.credentials.get_mut(&secret);
            if let Some(event) = watch.and_then(Watch::arrived) {
                self.see_credentials(&secret, &event);
            }
        }
    }

    fn see_tokens(&mut self, events: Vec<Event<Arc<Value>>>) {
        let changed = self.tokens.see(events, Operator::concern);
        for token in changed {
            self.queue.wake(token_item(&token));
        }
    }

    fn see_accounts(&mut self, events: Vec<Event<Arc<Value>>>) {
        let changed = self.accounts.see(events, generation);
        for account in changed {
            let key = account_key(AccountKind::PlatformAccount, &account);
            self.queue.wake(Item::Account(key));
        }
    }

    fn see_cluster_accounts(&mut self, events: Vec<Event<Arc<Value>>>) {
        let changed = self.cluster_accounts.see(events, generation);
        for account in changed {
            let key = account_key(AccountKind::ClusterPlatformAccount, &account);
            self.queue.wake(Item::Account(key));
        }
    }

    fn see_entry(&mut self, event: Event<Arc<Value>>) {
        self.operator.see_entry(&map(event, metadata));
    }

    fn see_generated(&mut self, event: Event<Arc<Value>>) {
        let event = map(event, metadata);
        for token in self.operator.see_secret(None, &event) {
            self.queue.wake(token_item(&token));
        }
    }

    fn watch_credentials(&mut self, secret: &(String, String)) {
        if self.credentials.contains_key(secret) {
            return;
        }
        let scope = Scope::Secret(secret.0.clone(), secret.1.clone());
        let stream = [
            self.stream[0],
            self.stream[1],
            4 + self.credentials.len() as u64,
        ];
        let (watch, listed) = Watch::begin(&self.world, scope, &stream);
        self.credentials.insert(secret.clone(), watch);
        if !listed
            .iter()
            .any(|event| matches!(event, Event::InitApply(_)))
        {
            self.operator.credentials_changed(secret, None);
        }
        for event in listed {
            self.see_credentials(secret, &event);
        }
    }

    fn see_credentials(&mut self, secret: &(String, String), event: &Event<Arc<Value>>) {
        let version = match event {
            Event::Apply(object) | Event::InitApply(object) => {
                let version = object["metadata"]["resourceVersion"].as_str();
                version.map(str::to_owned)
            }
            Event::Delete(_) => None,
            Event::Init | Event::InitDone => return,
        };
        self.operator.credentials_changed(secret, version.as_ref());
        if !self.operator.uses_credentials(secret) {
            self.credentials.remove(secret);
            self.operator.forget_credentials(secret);
        }
    }

    fn wake_loose_ends(&mut self) {
        self.operator.forget_vanished();
        for (namespace, name) in self.operator.orphans() {
            self.queue.wake(Item::Orphan(namespace, name));
        }
        for name in self.operator.entries() {
            self.queue.wake(Item::Entry(name));
        }
    }

    /// Whether the ledger has something that can be paid: without any account, a token whose value is lost waits for one.
    fn owes(&self) -> bool {
        let has_account = self.world.store().all(Kind::Account).next().is_some();
        has_account && self.operator.owes()
    }

    fn wake_users(&mut self, account: &AccountKey) {
        for token in self.operator.users(account) {
            self.queue.wake(token_item(&token));
        }
    }
}

fn metadata(object: &Value) -> PartialObjectMeta<Secret> {
    PartialObjectMeta {
        metadata: parse(&object["metadata"]),
        ..PartialObjectMeta::default()
    }
}

fn settings(world: &Arc<World>, life: &Arc<Life>, stream: [u64; 2]) -> Settings {
    let base_url: BaseUrl = BASE_URL.parse().expect("a base URL");
    let platforms = Platforms::new([base_url], {
        let (world, life) = (world.clone(), life.clone());
        move |_| -> Arc<dyn Transport> {
            let (world, life) = (world.clone(), life.clone());
            Arc::new(Wire { world, life })
        }
    });
    let ids = Chance::of(world.setup.seed, &[ATTEMPTS, stream[0], stream[1]]);
    let ids = std::sync::Mutex::new(ids);
    let fresh = move || {
        let mut ids = ids.lock().expect("nobody panics with it");
        let id = format!("{:016x}-{:016x}", ids.next(), ids.next());
        AttemptId::parse(&id).expect("hex makes an id")
    };
    Settings {
        platforms,
        served: Served::Everywhere,
        namespace: OWN_NAMESPACE.into(),
        // Few, so that PlatformTokens stand in line.
        concurrency: if world.setup.seed.is_multiple_of(2) {
            1
        } else {
            3
        },
        instance: "simulated".into(),
        clock: Clock::simulated(world.now()),
        fresh: Box::new(fresh),
    }
}

/// The objects of one kind, as one process sees them.
struct Cache<K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + 'static>
where
    DeserializeGuard<K>: Resource<DynamicType = ()>,
{
    watch: Watch,
    listed: Vec<Event<Arc<Value>>>,
    writer: Writer<DeserializeGuard<K>>,
    reader: Store<DeserializeGuard<K>>,
    /// What of each object concerned us when it was last seen.
    concerns: HashMap<ObjectRef<DeserializeGuard<K>>, u64>,
}

impl<K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + 'static> Cache<K>
where
    DeserializeGuard<K>: Resource<DynamicType = ()>,
{
    fn new(
        world: &World,
        kind: Kind,
        writer: Writer<DeserializeGuard<K>>,
        stream: [u64; 2],
    ) -> Self {
        let stream = [stream[0], stream[1], kind as u64];
        let (watch, listed) = Watch::begin(world, Scope::All(kind), &stream);
        Self {
            watch,
            listed,
            reader: writer.as_reader(),
            writer,
            concerns: HashMap::new(),
        }
    }

    /// What there was when the watch began.
    fn list(&mut self) -> Vec<Event<Arc<Value>>> {
        std::mem::take(&mut self.listed)
    }

    /// Takes events in; the objects of which something that concerns us has changed.
    fn see(
        &mut self,
        events: Vec<Event<Arc<Value>>>,
        concern: fn(&DeserializeGuard<K>) -> u64,
    ) -> Vec<ObjectRef<DeserializeGuard<K>>> {
        let mut changed = Vec::new();
        for event in events {
            let event = map(event, parse::<DeserializeGuard<K>>);
            self.writer.apply_watcher_event(&event);
            if let Event::Apply(object) | Event::InitApply(object) = event {
                let reference = ObjectRef::from_obj(&object);
                // As kube-runtime does: an object of the same name is another one.
                let mut hasher = DefaultHasher::new();
                (concern(&object), &object.meta().uid).hash(&mut hasher);
                let now = hasher.finish();
                if self.concerns.insert(reference.clone(), now) != Some(now) {
                    changed.push(reference);
                }
            }
        }
        changed
    }
}

fn generation<K>(account: &DeserializeGuard<K>) -> u64
where
    DeserializeGuard<K>: Resource<DynamicType = ()>,
{
    account.meta().generation.unwrap_or_default().unsigned_abs()
}

fn token_item(token: &ObjectRef<Watched>) -> Item {
    Item::Token(
        token.namespace.clone().unwrap_or_default(),
        token.name.clone(),
    )
}

fn account_key<K: Resource>(kind: AccountKind, account: &ObjectRef<K>) -> AccountKey {
    AccountKey {
        kind,
        namespace: account.namespace.clone(),
        name: account.name.clone(),
    }
}

fn map<K>(event: Event<Arc<Value>>, parse: impl Fn(&Value) -> K) -> Event<K> {
    match event {
        Event::Apply(object) => Event::Apply(parse(&object)),
        Event::Delete(object) => Event::Delete(parse(&object)),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(parse(&object)),
        Event::InitDone => Event::InitDone,
    }
}

fn parse<T: DeserializeOwned>(object: &Value) -> T {
    T::deserialize(object).expect("an object of the double reads")
}

fn uid(object: &Value) -> String {
    object["metadata"]["uid"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}
