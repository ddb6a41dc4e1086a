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

/// Key of the token in a generated Secret; always there.
pub const TOKEN_KEY: &str = "token";
/// The official name of the variable that holds a platform token: a second key, made for `envFrom`.
pub const TOKEN_VARIABLE: &str = "ACEDATACLOUD_PLATFORM_TOKEN";
