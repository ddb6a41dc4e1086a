//! What we expect of an API server, as one list. It runs against the double that simulations live on and against the
//! real kube-apiserver: where the two differ, the double is wrong.

use std::fmt::Debug;

use futures::future::BoxFuture;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::{Client, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Where expectations are looked at.
#[derive(Clone)]
pub(crate) struct Place {
    pub client: Client,
    /// A namespace that nobody else uses.
    pub namespace: String,
    /// A kind with the schema of PlatformToken, of which nobody else writes objects.
    pub tokens: ApiResource,
}

/// One expectation: a claim, and how to see that it holds.
pub(crate) type Expectation = (&'static str, fn(Place) -> BoxFuture<'static, ()>);

macro_rules! expectations {
    ($($name:ident),* $(,)?) => {
        &[$((stringify!($name), |place| Box::pin($name(place)))),*]
    };
}

/// All expectations, in the order in which they are to be looked at: the last one ends the namespace.
pub(crate) const ALL: &[Expectation] = expectations![
    a_create_makes_what_only_the_server_makes,
    a_create_never_merges,
    a_dry_run_answers_and_leaves_nothing,
    what_is_missing_is_not_found,
    a_patch_of_an_older_version_conflicts,
    a_patch_of_another_uid_is_refused,
    a_patch_that_changes_nothing_is_no_change,
    a_null_removes_and_what_is_left_out_stays,
    a_patch_of_the_object_leaves_the_status,
    a_patch_of_the_status_leaves_the_object,
    only_the_spec_has_generations,
    metadata_can_be_patched_and_answered_alone,
    what_nobody_holds_goes_at_once,
    a_finalizer_holds_until_the_last_one_is_lifted,
    no_finalizer_joins_a_deletion,
    a_deletion_keeps_to_its_preconditions,
    a_secret_of_the_same_name_is_another_one,
    the_type_of_a_secret_is_fixed,
    a_lease_is_created_once_and_replaced_at_its_version,
    a_lease_that_is_gone_is_not_replaced,
    a_list_is_by_label,
    a_list_is_by_field,
    events_name_themselves,
    nothing_new_enters_a_namespace_that_goes,
];

impl Place {
    fn tokens(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &self.tokens)
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn token(&self, name: &str) -> DynamicObject {
        let account = json!({ "kind": "PlatformAccount", "name": "main" });
        DynamicObject::new(name, &self.tokens)
            .data(json!({ "spec": { "accountRef": account, "secret": {} } }))
    }

    async fn create_token(&self, name: &str) -> DynamicObject {
        create(&self.tokens(), &self.token(name)).await.unwrap()
    }

    /// A PlatformToken with finalizers.
    async fn held_token(&self, name: &str, finalizers: &[&str]) -> DynamicObject {
        let mut token = self.token(name);
        token.metadata.finalizers = Some(finalizers.iter().map(|&f| f.to_owned()).collect());
        create(&self.tokens(), &token).await.unwrap()
    }
}

async fn a_create_makes_what_only_the_server_makes(place: Place) {
    let mut asked = place.token("made");
    asked.metadata.uid = Some("mine".into());
    asked.metadata.generation = Some(7);
    asked.data["status"] = json!({ "secretName": "mine" });
    let made = create(&place.tokens(), &asked).await.unwrap();
    assert_ne!(made.uid().unwrap(), "mine");
    assert_eq!(made.metadata.generation, Some(1));
    assert_eq!(
        made.data["status"],
        Value::Null,
        "a status is patched, not created"
    );
    let created = made.metadata.creation_timestamp.unwrap().0;
    assert_eq!(created.subsec_nanosecond(), 0);
    let version: u64 = made.metadata.resource_version.unwrap().parse().unwrap();
    let later = create(&place.secrets(), &secret("made", "x"))
        .await
        .unwrap();
    let later: u64 = later.metadata.resource_version.unwrap().parse().unwrap();
    assert!(later > version, "one counter for all kinds");
}

async fn a_create_never_merges(place: Place) {
    create(&place.secrets(), &secret("taken", "first"))
        .await
        .unwrap();
    let refused = create(&place.secrets(), &secret("taken", "second")).await;
    assert_eq!(refusal(refused), (409, "AlreadyExists".into()));
    let kept = place.secrets().get("taken").await.unwrap();
    assert_eq!(kept.data.unwrap()["token"].0, b"first");
}

async fn a_dry_run_answers_and_leaves_nothing(place: Place) {
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let secret = secret("dry", "x");
    let answer = place.secrets().create(&dry_run, &secret).await.unwrap();
    assert_eq!(answer.type_.as_deref(), Some("Opaque"));
    assert!(answer.metadata.uid.is_some());
    assert_eq!(answer.metadata.resource_version, None);
    assert!(place.secrets().get_opt("dry").await.unwrap().is_none());
    create(&place.secrets(), &secret).await.unwrap();
    let refused = place.secrets().create(&dry_run, &secret).await;
    assert_eq!(refusal(refused), (409, "AlreadyExists".into()));
}

async fn what_is_missing_is_not_found(place: Place) {
    let missing = (404, "NotFound".to_owned());
    assert_eq!(refusal(place.secrets().get("nobody").await), missing);
    let patched = patch(&place.secrets(), "nobody", json!({ "data": {} })).await;
    assert_eq!(refusal(patched), missing);
    let deleted = place
        .secrets()
        .delete("nobody", &DeleteParams::default())
        .await;
    assert_eq!(refusal(deleted), missing);
    let nowhere: Api<Secret> = Api::namespaced(place.client.clone(), "no-such-namespace");
    let created = create(&nowhere, &secret("x", "x")).await;
    assert_eq!(refusal(created), missing);
    assert_eq!(refusal(place.tokens().get("nobody").await), missing);
    let unnamed = place.tokens().get("nobody").await.unwrap_err();
    let kube::Error::Api(status) = unnamed else {
        panic!("{unnamed}");
    };
    assert_eq!(status.details.unwrap().name, "nobody");
}

async fn a_patch_of_an_older_version_conflicts(place: Place) {
    let conflict = (409, "Conflict".to_owned());
    let first = place.create_token("older").await;
    let labelled = label(
        &place.tokens(),
        "older",
        first.metadata.resource_version.as_ref(),
        "1",
    )
    .await;
    assert_ne!(
        labelled.unwrap().metadata.resource_version,
        first.metadata.resource_version
    );
    let stale = label(
        &place.tokens(),
        "older",
        first.metadata.resource_version.as_ref(),
        "2",
    )
    .await;
    assert_eq!(refusal(stale), conflict);
    let version = &first.metadata.resource_version;
    let body =
        json!({ "metadata": { "resourceVersion": version }, "status": { "secretName": "x" } });
    let stale = place
        .tokens()
        .patch_status("older", &PatchParams::default(), &Patch::Merge(body))
        .await;
    assert_eq!(refusal(stale), conflict);
    let secret = create(&place.secrets(), &secret("older", "x"))
        .await
        .unwrap();
    patch(
        &place.secrets(),
        "older",
        json!({ "data": { "other": "eA==" } }),
    )
    .await
    .unwrap();
    let stale = label(
        &place.secrets(),
        "older",
        secret.metadata.resource_version.as_ref(),
        "1",
    )
    .await;
    assert_eq!(refusal(stale), conflict);
}

async fn a_patch_of_another_uid_is_refused(place: Place) {
    let token = place.create_token("another").await;
    let invalid = (422, "Invalid".to_owned());
    let other = "00000000-0000-4000-8000-00000000ffff";
    let body = |version: Option<&str>| {
        let labels = json!({ "n": "1" });
        json!({ "metadata": { "uid": other, "labels": labels, "resourceVersion": version } })
    };
    let refused = patch(&place.tokens(), "another", body(None)).await;
    assert_eq!(refusal(refused), invalid);
    let version = token.metadata.resource_version.as_deref();
    let refused = patch(&place.tokens(), "another", body(version)).await;
    assert_eq!(refusal(refused), invalid);
    let refused = patch(&place.tokens(), "another", body(Some("1"))).await;
    assert_eq!(
        refusal(refused),
        (409, "Conflict".into()),
        "the version is looked at first"
    );
    let right = json!({ "metadata": { "uid": token.metadata.uid, "labels": { "n": "1" } } });
    patch(&place.tokens(), "another", right).await.unwrap();
    create(&place.secrets(), &secret("another", "x"))
        .await
        .unwrap();
    let refused = patch(&place.secrets(), "another", body(None)).await;
    assert_eq!(refusal(refused), invalid);
}

async fn a_patch_that_changes_nothing_is_no_change(place: Place) {
    let token = place.create_token("still").await;
    let body = json!({ "metadata": { "labels": { "n": "1" } } });
    let once = patch(&place.tokens(), "still", body.clone()).await.unwrap();
    let twice = patch(&place.tokens(), "still", body).await.unwrap();
    assert_ne!(
        once.metadata.resource_version,
        token.metadata.resource_version
    );
    assert_eq!(
        once.metadata.resource_version,
        twice.metadata.resource_version
    );
}

async fn a_null_removes_and_what_is_left_out_stays(place: Place) {
    let mut asked = secret("nulls", "x");
    asked.metadata.annotations = Some([("a".into(), "1".into()), ("b".into(), "2".into())].into());
    create(&place.secrets(), &asked).await.unwrap();
    let body = json!({ "metadata": { "annotations": { "a": null } }, "data": { "token": null, "new": "eA==" } });
    let patched = patch(&place.secrets(), "nulls", body).await.unwrap();
    assert_eq!(
        patched.metadata.annotations.unwrap(),
        [("b".into(), "2".into())].into()
    );
    let keys: Vec<String> = patched.data.unwrap().into_keys().collect();
    assert_eq!(keys, ["new"]);
    let emptied = patch(
        &place.secrets(),
        "nulls",
        json!({ "metadata": { "annotations": null } }),
    )
    .await;
    assert_eq!(emptied.unwrap().metadata.annotations, None);
}

async fn a_patch_of_the_object_leaves_the_status(place: Place) {
    let token = place.create_token("body").await;
    let body = json!({ "status": { "secretName": "x" } });
    let patched = patch(&place.tokens(), "body", body).await.unwrap();
    assert_eq!(patched.data["status"], Value::Null);
    assert_eq!(
        patched.metadata.resource_version,
        token.metadata.resource_version
    );
}

async fn a_patch_of_the_status_leaves_the_object(place: Place) {
    let token = place.create_token("status").await;
    let body = json!({
        "metadata": { "labels": { "n": "1" }, "annotations": { "n": "1" }, "finalizers": ["test.example/n"] },
        "spec": { "secret": { "name": "moved" } },
        "status": { "secretName": "x", "tokenID": "t" },
    });
    let status = |body| async {
        let (parameters, body) = (PatchParams::default(), Patch::Merge(body));
        place
            .tokens()
            .patch_status("status", &parameters, &body)
            .await
            .unwrap()
    };
    let patched = status(body).await;
    assert_eq!(
        patched.data["status"],
        json!({ "secretName": "x", "tokenID": "t" })
    );
    assert_eq!(patched.data["spec"], token.data["spec"]);
    assert!(patched.labels().is_empty() && patched.annotations().is_empty());
    assert!(patched.finalizers().is_empty());
    assert_eq!(patched.metadata.generation, Some(1));
    assert_ne!(
        patched.metadata.resource_version,
        token.metadata.resource_version
    );
    let patched = status(json!({ "status": { "tokenID": null } })).await;
    assert_eq!(patched.data["status"], json!({ "secretName": "x" }));
}

async fn only_the_spec_has_generations(place: Place) {
    place.create_token("generations").await;
    for (body, generation) in [
        (json!({ "metadata": { "labels": { "n": "1" } } }), 1),
        (json!({ "spec": { "secret": { "name": "a" } } }), 2),
        (json!({ "spec": { "secret": { "name": "a" } } }), 2),
        (
            json!({ "metadata": { "finalizers": ["test.example/n"] } }),
            2,
        ),
    ] {
        let patched = patch(&place.tokens(), "generations", body.clone())
            .await
            .unwrap();
        assert_eq!(patched.metadata.generation, Some(generation), "{body}");
    }
    delete(&place.tokens(), "generations").await;
    let deleting = place.tokens().get("generations").await.unwrap();
    assert_eq!(
        deleting.metadata.generation,
        Some(3),
        "a deletion is a change as well"
    );
    lift(&place.tokens(), "generations").await;
}

async fn metadata_can_be_patched_and_answered_alone(place: Place) {
    let token = place.create_token("metadata").await;
    let body = json!({ "metadata": {
        "uid": token.metadata.uid, "resourceVersion": token.metadata.resource_version,
        "finalizers": ["test.example/n"], "annotations": { "n": "1" },
    } });
    let (parameters, body) = (PatchParams::default(), Patch::Merge(body));
    let answer: PartialObjectMeta<DynamicObject> = place
        .tokens()
        .patch_metadata("metadata", &parameters, &body)
        .await
        .unwrap();
    assert_eq!(answer.types.unwrap().kind, "PartialObjectMetadata");
    let token = place.tokens().get("metadata").await.unwrap();
    assert_eq!(
        answer.metadata.resource_version,
        token.metadata.resource_version
    );
    assert_eq!(token.finalizers(), ["test.example/n"]);
    assert_eq!(token.annotations()["n"], "1");
    lift(&place.tokens(), "metadata").await;
}

async fn what_nobody_holds_goes_at_once(place: Place) {
    create(&place.secrets(), &secret("free", "x"))
        .await
        .unwrap();
    let gone = place
        .secrets()
        .delete("free", &DeleteParams::default())
        .await
        .unwrap();
    assert!(gone.is_right(), "the answer is a Status");
    assert!(place.secrets().get_opt("free").await.unwrap().is_none());
    place.create_token("free").await;
    let gone = place
        .tokens()
        .delete("free", &DeleteParams::default())
        .await
        .unwrap();
    assert!(gone.is_right());
    assert!(place.tokens().get_opt("free").await.unwrap().is_none());
}

async fn a_finalizer_holds_until_the_last_one_is_lifted(place: Place) {
    place
        .held_token("held", &["test.example/a", "test.example/b"])
        .await;
    let answer = place
        .tokens()
        .delete("held", &DeleteParams::default())
        .await
        .unwrap();
    let deleting = answer.left().expect("the answer is the object");
    let deleted_at = deleting.metadata.deletion_timestamp.clone().unwrap();
    let again = place
        .tokens()
        .delete("held", &DeleteParams::default())
        .await
        .unwrap();
    let again = again.left().expect("the answer is the object");
    assert_eq!(again.metadata.deletion_timestamp, Some(deleted_at));
    assert_eq!(
        again.metadata.resource_version,
        deleting.metadata.resource_version
    );
    let body = json!({ "metadata": { "finalizers": ["test.example/b"], "labels": { "n": "1" } } });
    let held = patch(&place.tokens(), "held", body).await.unwrap();
    assert_eq!(held.finalizers(), ["test.example/b"]);
    let body = json!({ "status": { "secretName": "x" } });
    let (parameters, body) = (PatchParams::default(), Patch::Merge(body));
    place
        .tokens()
        .patch_status("held", &parameters, &body)
        .await
        .unwrap();
    let last = patch(
        &place.tokens(),
        "held",
        json!({ "metadata": { "finalizers": [] } }),
    )
    .await;
    assert_eq!(last.unwrap().uid(), deleting.uid());
    assert!(place.tokens().get_opt("held").await.unwrap().is_none());

    let mut asked = secret("held", "x");
    asked.metadata.finalizers = Some(vec!["test.example/a".into()]);
    create(&place.secrets(), &asked).await.unwrap();
    let answer = place
        .secrets()
        .delete("held", &DeleteParams::default())
        .await
        .unwrap();
    assert!(answer.left().unwrap().metadata.deletion_timestamp.is_some());
    patch(
        &place.secrets(),
        "held",
        json!({ "data": { "more": "eA==" } }),
    )
    .await
    .unwrap();
    lift(&place.secrets(), "held").await;
    assert!(place.secrets().get_opt("held").await.unwrap().is_none());
}

async fn no_finalizer_joins_a_deletion(place: Place) {
    place.held_token("closed", &["test.example/a"]).await;
    delete(&place.tokens(), "closed").await;
    let body = json!({ "metadata": { "finalizers": ["test.example/a", "test.example/b"] } });
    let refused = patch(&place.tokens(), "closed", body).await;
    assert_eq!(refusal(refused), (422, "Invalid".into()));
    lift(&place.tokens(), "closed").await;
}

async fn a_deletion_keeps_to_its_preconditions(place: Place) {
    let first = create(&place.secrets(), &secret("exactly", "x"))
        .await
        .unwrap();
    let body = json!({ "data": { "other": "eA==" } });
    let second = patch(&place.secrets(), "exactly", body).await.unwrap();
    let exactly = |uid: Option<&String>, version: Option<&String>| DeleteParams {
        preconditions: Some(Preconditions {
            uid: uid.cloned(),
            resource_version: version.cloned(),
        }),
        ..DeleteParams::default()
    };
    let uid = first.metadata.uid.as_ref();
    let other = "00000000-0000-4000-8000-00000000ffff".to_owned();
    for wrong in [
        exactly(Some(&other), None),
        exactly(uid, first.metadata.resource_version.as_ref()),
        exactly(Some(&other), second.metadata.resource_version.as_ref()),
    ] {
        let refused = place.secrets().delete("exactly", &wrong).await;
        assert_eq!(refusal(refused), (409, "Conflict".into()));
    }
    let right = exactly(uid, second.metadata.resource_version.as_ref());
    place.secrets().delete("exactly", &right).await.unwrap();
    assert!(place.secrets().get_opt("exactly").await.unwrap().is_none());
}

async fn a_secret_of_the_same_name_is_another_one(place: Place) {
    let first = create(&place.secrets(), &secret("again", "x"))
        .await
        .unwrap();
    delete(&place.secrets(), "again").await;
    let second = create(&place.secrets(), &secret("again", "x"))
        .await
        .unwrap();
    assert_ne!(first.metadata.uid, second.metadata.uid);
    let stale = label(
        &place.secrets(),
        "again",
        first.metadata.resource_version.as_ref(),
        "1",
    )
    .await;
    assert_eq!(refusal(stale), (409, "Conflict".into()));
}

async fn the_type_of_a_secret_is_fixed(place: Place) {
    create(&place.secrets(), &secret("typed", "x"))
        .await
        .unwrap();
    let refused = patch(
        &place.secrets(),
        "typed",
        json!({ "type": "test.example/other" }),
    )
    .await;
    assert_eq!(refusal(refused), (422, "Invalid".into()));
}

async fn a_lease_is_created_once_and_replaced_at_its_version(place: Place) {
    let first = create(&place.leases(), &lease("led", Some("a"))).await;
    let first = first.unwrap();
    let refused = create(&place.leases(), &lease("led", Some("b"))).await;
    assert_eq!(refusal(refused), (409, "AlreadyExists".into()));
    let spec = lease("led", None).spec;
    let second = Lease {
        spec: spec.clone(),
        ..first.clone()
    };
    let second = replace(&place.leases(), "led", &second).await.unwrap();
    let version = |lease: &Lease| lease.metadata.resource_version.clone();
    assert_ne!(version(&second), version(&first));
    assert_eq!(second.spec, spec, "what a replacement lacks goes");
    let stale = replace(&place.leases(), "led", &first).await;
    assert_eq!(refusal(stale), (409, "Conflict".into()));
    assert_eq!(place.leases().get("led").await.unwrap(), second);
}

async fn a_lease_that_is_gone_is_not_replaced(place: Place) {
    let gone = create(&place.leases(), &lease("left", Some("a"))).await;
    let gone = gone.unwrap();
    delete(&place.leases(), "left").await;
    let refused = replace(&place.leases(), "left", &gone).await;
    assert_eq!(refusal(refused), (409, "Conflict".into()));
    let made = create(&place.leases(), &lease("left", Some("b"))).await;
    let refused = replace(&place.leases(), "left", &gone).await;
    assert_eq!(refusal(refused), (409, "Conflict".into()));
    assert_eq!(place.leases().get("left").await.unwrap(), made.unwrap());
}

async fn a_list_is_by_label(place: Place) {
    let mut labelled = secret("labelled", "x");
    labelled.metadata.labels = Some([("test.example/yes".into(), "true".into())].into());
    create(&place.secrets(), &labelled).await.unwrap();
    create(&place.secrets(), &secret("plain", "x"))
        .await
        .unwrap();
    let by_label = ListParams::default().labels("test.example/yes=true");
    let names =
        |list: Vec<Secret>| -> Vec<String> { list.iter().map(ResourceExt::name_any).collect() };
    let here = place.secrets().list(&by_label).await.unwrap();
    assert_eq!(names(here.items), ["labelled"]);
    let everywhere: Api<Secret> = Api::all(place.client.clone());
    let everywhere = everywhere.list(&by_label).await.unwrap();
    assert!(names(everywhere.items).contains(&"labelled".into()));
    let all = place.secrets().list(&ListParams::default()).await.unwrap();
    assert!(names(all.items).contains(&"plain".into()));
}

async fn a_list_is_by_field(place: Place) {
    let mut token = place.token("adopting");
    token.data["spec"]["adoptTokenID"] = json!("wanted");
    create(&place.tokens(), &token).await.unwrap();
    place.create_token("minting").await;
    let by_field = ListParams::default().fields("spec.adoptTokenID=wanted");
    let everywhere: Api<DynamicObject> = Api::all_with(place.client.clone(), &place.tokens);
    for api in [place.tokens(), everywhere] {
        let listed = api.list(&by_field).await.unwrap();
        let names: Vec<String> = listed.iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, ["adopting"]);
    }
}

async fn events_name_themselves(place: Place) {
    let events: Api<Event> = Api::namespaced(place.client.clone(), &place.namespace);
    let event: Event = serde_json::from_value(json!({
        "metadata": { "generateName": "one-", "namespace": place.namespace },
        "type": "Normal", "reason": "Issued", "action": "Reconcile", "note": "n",
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "test.example/c", "reportingInstance": "i",
        "regarding": { "kind": "Secret", "namespace": place.namespace, "name": "one" },
    }))
    .unwrap();
    let made = create(&events, &event).await.unwrap();
    let again = create(&events, &event).await.unwrap();
    assert!(made.name_any().starts_with("one-") && made.name_any() != again.name_any());
}

async fn nothing_new_enters_a_namespace_that_goes(place: Place) {
    place.held_token("last", &["test.example/a"]).await;
    let namespaces: Api<Namespace> = Api::all(place.client.clone());
    let gone = namespaces
        .delete(&place.namespace, &DeleteParams::default())
        .await
        .unwrap();
    assert!(
        gone.is_left(),
        "it stays for as long as something in it is held"
    );
    let refused = create(&place.secrets(), &secret("late", "x")).await;
    assert_eq!(refusal(refused), (403, "Forbidden".into()));
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let refused = place.secrets().create(&dry_run, &secret("late", "x")).await;
    assert_eq!(refusal(refused), (403, "Forbidden".into()));
    let body = json!({ "metadata": { "annotations": { "n": "1" } } });
    patch(&place.tokens(), "last", body)
        .await
        .expect("what is there can still change");
    let namespace = namespaces.get(&place.namespace).await.unwrap();
    assert!(namespace.metadata.deletion_timestamp.is_some());
    lift(&place.tokens(), "last").await;
}

fn lease(name: &str, holder: Option<&str>) -> Lease {
    let time = "2026-01-01T00:00:00.123456Z";
    let spec = json!({ "holderIdentity": holder, "renewTime": time, "leaseDurationSeconds": 15 });
    serde_json::from_value(json!({ "metadata": { "name": name }, "spec": spec })).unwrap()
}

fn secret(name: &str, text: &str) -> Secret {
    let data = json!({ "token": k8s_openapi::ByteString(text.as_bytes().to_vec()) });
    serde_json::from_value(json!({ "metadata": { "name": name }, "data": data })).unwrap()
}

async fn create<K>(api: &Api<K>, object: &K) -> kube::Result<K>
where
    K: Clone + Debug + DeserializeOwned + Serialize,
{
    api.create(&PostParams::default(), object).await
}

async fn replace<K>(api: &Api<K>, name: &str, object: &K) -> kube::Result<K>
where
    K: Clone + Debug + DeserializeOwned + Serialize,
{
    api.replace(name, &PostParams::default(), object).await
}

async fn patch<K>(api: &Api<K>, name: &str, body: Value) -> kube::Result<K>
where
    K: Clone + Debug + DeserializeOwned,
{
    api.patch(name, &PatchParams::default(), &Patch::Merge(body))
        .await
}

/// Labels an object as it was at a version.
async fn label<K>(api: &Api<K>, name: &str, version: Option<&String>, text: &str) -> kube::Result<K>
where
    K: Clone + Debug + DeserializeOwned,
{
    let metadata = json!({ "resourceVersion": version, "labels": { "n": text } });
    patch(api, name, json!({ "metadata": metadata })).await
}

async fn delete<K>(api: &Api<K>, name: &str)
where
    K: Clone + Debug + DeserializeOwned,
{
    api.delete(name, &DeleteParams::default()).await.unwrap();
}

/// Lifts all finalizers.
async fn lift<K>(api: &Api<K>, name: &str)
where
    K: Clone + Debug + DeserializeOwned,
{
    let body = json!({ "metadata": { "finalizers": null } });
    patch(api, name, body).await.unwrap();
}

/// Code and reason of a refusal.
fn refusal<T: Debug>(answer: kube::Result<T>) -> (u16, String) {
    match answer {
        Err(kube::Error::Api(status)) => (status.code, status.reason.clone()),
        other => panic!("that is no refusal: {other:?}"),
    }
}
