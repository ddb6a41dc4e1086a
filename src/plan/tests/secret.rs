//! What a generated Secret looks like, and whose a Secret is.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;

use super::*;

/// The Secret `token` as we write it, with a uid and a resourceVersion as the API server gives them.
pub(super) fn written(given_up: &[&str]) -> Secret {
    let mut secret = render(
        &owner("token"),
        "token",
        &issued(1, "a"),
        &ids(given_up),
        &value("a"),
        true,
    );
    secret.metadata.uid = Some("s".into());
    secret.metadata.resource_version = Some("7".into());
    secret
}

/// That Secret after someone has edited it.
pub(super) fn edited(edit: impl FnOnce(&mut Secret)) -> Secret {
    let mut secret = written(&[]);
    edit(&mut secret);
    secret
}

pub(super) fn annotate(secret: &mut Secret, name: &str, text: Option<&str>) {
    let annotations = secret.metadata.annotations.as_mut().unwrap();
    match text {
        Some(text) => annotations.insert(name.into(), text.into()),
        None => annotations.remove(name),
    };
}

pub(super) fn put(secret: &mut Secret, key: &str, value: &TokenValue) {
    let bytes = ByteString(value.expose().as_bytes().to_vec());
    secret.data.as_mut().unwrap().insert(key.into(), bytes);
}

pub(super) fn delete(secret: &mut Secret) {
    secret.metadata.deletion_timestamp = Some(Time(at(0).wall));
}

/// As the PlatformToken `token` reads it.
pub(super) fn read_by_token(
    secret: &Secret,
    known: Option<&TokenHash>,
    former: &Former,
) -> SecretFacts {
    let reader = Reader {
        owner: &owner("token"),
        known,
        take_over: None,
    };
    read(secret, reader, former)
}

fn read_own(secret: &Secret, known: Option<&TokenHash>) -> OwnSecret {
    match read_by_token(secret, known, &Former::Lives) {
        SecretFacts::Own(own) => *own,
        facts => panic!("{facts:?}"),
    }
}

#[test]
fn a_secret_is_labelled_bound_to_its_owner_and_holds_the_value_under_both_keys() {
    let shown = serde_json::to_value(written(&["one", "two"])).unwrap();
    let bytes = serde_json::to_value(ByteString(b"platform-a".to_vec())).unwrap();
    let expected = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": "token",
            "namespace": "ns",
            "uid": "s",
            "resourceVersion": "7",
            "finalizers": ["platform.acedata.cloud/revoke"],
            "labels": {
                "app.kubernetes.io/managed-by": "platform-token-operator",
                "platform.acedata.cloud/managed": "true",
            },
            "annotations": {
                "platform.acedata.cloud/attempt": "1/attempt-1",
                "platform.acedata.cloud/base-url": "https://platform",
                "platform.acedata.cloud/given-up": "id-one,id-two",
                "platform.acedata.cloud/issued-at": "2026-01-01T00:00:00Z",
                "platform.acedata.cloud/owner": "cluster/ns/token/uid-of-token",
                "platform.acedata.cloud/secret": "token",
                "platform.acedata.cloud/token-hash": value("a").hash().as_str(),
                "platform.acedata.cloud/token-id": "id-a",
                "platform.acedata.cloud/user-id": "user",
            },
        },
        "data": { "ACEDATACLOUD_PLATFORM_TOKEN": bytes, "token": bytes },
    });
    assert_eq!(shown, expected);
    let annotations = written(&[]).metadata.annotations.unwrap();
    assert!(
        !annotations.contains_key(names::GIVEN_UP),
        "nothing is owed"
    );
}

#[test]
fn a_dry_run_differs_from_the_secret_only_in_what_is_not_known_yet() {
    let dry = render_preflight(&owner("token"), "token", true);
    let real = written(&[]);
    assert_eq!(dry.metadata.name, real.metadata.name);
    assert_eq!(dry.metadata.namespace, real.metadata.namespace);
    assert_eq!(dry.metadata.labels, real.metadata.labels);
    assert_eq!(dry.metadata.finalizers, real.metadata.finalizers);
    assert_eq!(dry.type_, real.type_);
    let keys = |secret: Secret| secret.data.unwrap().into_keys().collect::<Vec<_>>();
    let size = dry.data.as_ref().unwrap()["token"].0.len();
    assert!(size >= 64, "as long as a value");
    assert_eq!(keys(dry), keys(real));
}

#[test]
fn what_was_written_reads_back_and_what_users_add_beside_it_stays_theirs() {
    let own = read_own(&written(&["other"]), None);
    assert!(own.whole && own.held && !own.deleting);
    assert_eq!(own.issued, Some(issued(1, "a")));
    assert_eq!(own.given_up, ids(&["other"]));
    assert_eq!(own.value.unwrap().hash(), value("a").hash());
    assert_eq!(own.version, version("7"));

    let added = edited(|secret| {
        annotate(secret, "example.com/note", Some("theirs"));
        put(secret, "more", &value("theirs"));
        let finalizers = secret.metadata.finalizers.as_mut().unwrap();
        finalizers.push("example.com/keep".into());
    });
    let own = read_own(&added, None);
    assert!(own.whole);
    assert_eq!(own.version.other_finalizers, ["example.com/keep"]);
}

#[test]
fn a_secret_that_lacks_anything_we_wrote_is_not_whole() {
    let without_value = |secret: &mut Secret| secret.data = None;
    let without_one_key = |secret: &mut Secret| {
        secret.data.as_mut().unwrap().remove(names::TOKEN_KEY);
    };
    let with_another_value = |secret: &mut Secret| put(secret, names::TOKEN_KEY, &value("b"));
    let without_label = |secret: &mut Secret| secret.metadata.labels = None;
    let without_finalizer = |secret: &mut Secret| secret.metadata.finalizers = None;
    let with_another_label = |secret: &mut Secret| {
        let labels = secret.metadata.labels.as_mut().unwrap();
        labels.insert(names::MANAGED_LABEL.into(), "false".into());
    };
    let without_record = |secret: &mut Secret| annotate(secret, names::TOKEN_ID, None);
    let without_its_name = |secret: &mut Secret| annotate(secret, names::SECRET, None);
    // Whether the value can be had is another matter: either key will do.
    for (what, edit, has_value) in [
        ("its value", &without_value as &dyn Fn(&mut Secret), false),
        ("one key", &without_one_key, true),
        ("the value under one key", &with_another_value, true),
        ("its labels", &without_label, true),
        ("the value of a label", &with_another_label, true),
        ("a part of its record", &without_record, true),
        ("its own name", &without_its_name, true),
    ] {
        let own = read_own(&edited(edit), Some(&value("a").hash()));
        assert!(!own.whole, "without {what}");
        assert_eq!(own.value.is_some(), has_value, "without {what}");
    }
    // Whether it is to be there depends on where the operator runs.
    let unheld = read_own(&edited(without_finalizer), None);
    assert!(unheld.whole && !unheld.held);
    assert!(read_own(&edited(delete), None).deleting);
}

#[test]
fn a_value_whose_record_is_of_another_is_not_the_records() {
    // The status knows the value; somebody gave the Secret the record of another token.
    let forged = edited(|secret| {
        let theirs = value("theirs").hash();
        annotate(secret, names::TOKEN_HASH, Some(theirs.as_str()));
    });
    let own = read_own(&forged, Some(&value("a").hash()));
    assert_eq!(own.value.unwrap().hash(), value("a").hash());
    assert!(!own.whole);
    assert!(read_own(&forged, None).value.is_none());
}

#[test]
fn a_secret_is_its_owners_or_nobodys_and_never_anothers() {
    let known = value("a").hash();
    let unknown = value("b").hash();
    let anonymous = || edited(|secret| annotate(secret, names::OWNER, None));
    assert!(
        !read_own(&anonymous(), Some(&known)).whole,
        "the value tells"
    );
    let anothers = edited(|secret| annotate(secret, names::OWNER, Some("cluster/ns/other/uid")));
    let malformed = edited(|secret| annotate(secret, names::OWNER, Some("me")));
    let copy = edited(|secret| secret.metadata.name = Some("copy".into()));
    let bare = edited(|secret| secret.metadata.annotations = None);
    // What is being deleted and has no owner is let go; one that has an owner is his.
    for (secret, known, words, is_let_go) in [
        (
            anothers,
            &known,
            "belongs to PlatformToken ns/other (uid uid)",
            false,
        ),
        (
            malformed,
            &known,
            "owner annotation that does not read",
            true,
        ),
        (copy, &known, "is a copy of Secret token", true),
        (anonymous(), &unknown, "was not made by this operator", true),
        (bare, &unknown, "was not made by this operator", true),
    ] {
        for deleting in [false, true] {
            let mut secret = secret.clone();
            if deleting {
                delete(&mut secret);
            }
            let facts = read_by_token(&secret, Some(known), &Former::Lives);
            let SecretFacts::Foreign { trouble, dying } = facts else {
                panic!("{words}")
            };
            assert!(trouble.message.contains(words), "{trouble:?}");
            let expected = (deleting && is_let_go).then(|| version("7"));
            assert_eq!(dying, expected, "{words}");
        }
    }
    let mut kept_by_others = anonymous();
    delete(&mut kept_by_others);
    kept_by_others.metadata.finalizers = Some(vec!["example.com/keep".into()]);
    let facts = read_by_token(&kept_by_others, None, &Former::Lives);
    assert!(matches!(facts, SecretFacts::Foreign { dying: None, .. }));
}
