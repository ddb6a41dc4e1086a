//! The fixed names that operator, users and other tools agree on.

/// API group of the kinds, and prefix of our labels, annotations and finalizer.
pub const GROUP: &str = "platform.acedata.cloud";
/// Who we say we are: field manager, event reporter, `app.kubernetes.io/managed-by`, and a tag upstream.
pub const OPERATOR: &str = "platform-token-operator";

/// On a PlatformToken and on its Secret, while a live token may stand behind it.
pub const FINALIZER: &str = "platform.acedata.cloud/revoke";

/// Label that the watch of generated Secrets is scoped to; its value is `"true"`.
pub const MANAGED_LABEL: &str = "platform.acedata.cloud/managed";
/// The common label that says which tool generated a Secret.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";

/// On a PlatformToken: the open attempt, as JSON ([`crate::api::Attempt`]). On a Secret: `NUMBER/ID`.
pub const ATTEMPT: &str = "platform.acedata.cloud/attempt";
/// On a Secret: whose it is, `CLUSTER/NAMESPACE/NAME/UID`.
pub const OWNER: &str = "platform.acedata.cloud/owner";
/// On a PlatformToken, by a user: the owner in another cluster whose Secret and token are to be its own from now on.
pub const TAKE_OVER: &str = "platform.acedata.cloud/take-over";
/// On a Secret: ids of other tokens of the same attempt, which are owed until they are revoked, separated by commas.
pub const GIVEN_UP: &str = "platform.acedata.cloud/given-up";
/// On a Secret: its own name, so that a copy under another name can be told from it.
pub const SECRET: &str = "platform.acedata.cloud/secret";
/// On a Secret: the upstream id of the token in it.
pub const TOKEN_ID: &str = "platform.acedata.cloud/token-id";
/// On a Secret: SHA-256 of the value that this id stands for.
pub const TOKEN_HASH: &str = "platform.acedata.cloud/token-hash";
/// On a Secret: the platform that the token lives on.
pub const BASE_URL: &str = "platform.acedata.cloud/base-url";
/// On a Secret: the platform's user that the token belongs to.
pub const USER_ID: &str = "platform.acedata.cloud/user-id";
/// On a Secret: when the platform created the token, RFC 3339.
pub const ISSUED_AT: &str = "platform.acedata.cloud/issued-at";

/// On a Secret that its PlatformToken has let go of on purpose: it is nobody's. Beside it stands the record of a token
/// that lives on.
pub const RETAINED: &str = "platform.acedata.cloud/retained";

/// Label of an entry of the ledger, in the operator's own namespace; its value is the kind of the entry.
pub const LEDGER_LABEL: &str = "platform.acedata.cloud/ledger";
/// On an entry of the ledger: what it records, as JSON ([`crate::api::Entry`]).
pub const LEDGER_ENTRY: &str = "platform.acedata.cloud/ledger-entry";
/// The Secret beside the entries that is as old as the ledger.
pub const LEDGER_MARK: &str = "platform-token-operator-ledger";

/// Key of the token in a generated Secret; always there.
pub const TOKEN_KEY: &str = "token";
/// The official name of the variable that holds a platform token: a second key, made for `envFrom`.
pub const TOKEN_VARIABLE: &str = "ACEDATACLOUD_PLATFORM_TOKEN";

/// Whether an object can have this name. Any other would lead elsewhere in the path of a request.
#[must_use]
pub fn is_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_word)
}

/// Whether a namespace can have this name.
#[must_use]
pub fn is_namespace(text: &str) -> bool {
    text.len() <= 63 && is_word(text)
}

fn is_word(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let ends_well = !text.is_empty() && !text.starts_with('-') && !text.ends_with('-');
    ends_well && text.bytes().all(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_nowhere_else_in_a_path() {
        for good in ["a", "a-1", "0"] {
            assert!(is_name(good) && is_namespace(good), "{good}");
        }
        assert!(is_name("a.b-c.d") && !is_namespace("a.b"));
        assert!(is_name(&"a".repeat(253)) && !is_namespace(&"a".repeat(64)));
        for bad in [
            "", ".", "..", "a..b", "-a", "a-", "A", "a/b", "../b", "a?b", "a%2fb", "a#b", "a b",
            "a\n",
        ] {
            assert!(!is_name(bad) && !is_namespace(bad), "{bad}");
        }
    }
}
