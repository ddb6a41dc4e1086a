//! What says whose a Secret is was edited. What becomes of its value, its hash and its labels: `repair`.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use platform_token_operator::api::{PlatformToken, names};
use serde_json::{Value, json};

use super::{answers, forsake, id_of, lives};
use crate::support::{World, eventually, value};

fn annotations(edit: &Value) -> Value {
    json!({ "metadata": { "annotations": edit } })
}

#[tokio::test]
async fn a_secret_that_still_holds_the_token_is_its_owners_again_whatever_it_says() {
    let world = World::new().await;
    let stripped = json!({ "metadata": { "annotations": null, "labels": null } });
    let unlabelled = json!({ "metadata": {
        "annotations": { names::OWNER: null, names::TOKEN_HASH: "00" },
        "labels": { names::MANAGED_LABEL: null },
    }});
    let gone = format!("/{}/gone/0", world.namespace);
    for (n, edit) in [
        stripped,
        unlabelled,
        annotations(&json!({ names::OWNER: gone })),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("edited-{n}");
        let token = world.ready_token(&name).await;
        let before = world.secret(&name).await.unwrap();
        let owner = before.annotations()[names::OWNER].clone();
        let mut edit = edit;
        if let Some(said) = edit["metadata"]["annotations"].get_mut(names::OWNER)
            && said.is_string()
        {
            // Of this cluster.
            *said = json!(format!("{}{gone}", owner.split('/').next().unwrap()));
        }
        world.patch::<Secret>(&name, edit.clone()).await;
        eventually("the record is written anew", || async {
            let now = world.secret(&name).await?;
            let same = now.annotations() == before.annotations() && now.labels() == before.labels();
            same.then_some(())
        })
        .await;
        let after = world.until_ready(&name).await;
        assert_eq!(id_of(&after), id_of(&token), "{edit}");
        assert_eq!(
            value(&world.secret(&name).await.unwrap(), "token"),
            value(&before, "token")
        );
    }
    assert_eq!((world.minted(), world.live().len()), (3, 3));
}

#[tokio::test]
async fn a_secret_that_is_given_to_somebody_else_is_left_alone_until_that_is_corrected() {
    let world = World::new().await;
    world.ready_token("neighbour").await;
    let neighbours = super::owner_of(&world, "neighbour").await;
    for (n, edit, reason) in [
        (0, json!({ names::OWNER: neighbours }), "SecretNotWritable"),
        (
            1,
            json!({ names::OWNER: "another/ns/token/uid" }),
            "OwnershipConflict",
        ),
        (2, json!({ names::OWNER: "somebody" }), "SecretNotWritable"),
        (3, json!({ names::SECRET: "another" }), "SecretNotWritable"),
    ] {
        let name = format!("edited-{n}");
        let token = world.ready_token(&name).await;
        let before = world.secret(&name).await.unwrap();
        world.patch::<Secret>(&name, annotations(&edit)).await;
        // Without its owner's name no watch shows whose it was.
        let poke = annotations(&json!({ "poke": "1" }));
        world.patch::<PlatformToken>(&name, poke).await;
        world.until_trouble(&name, reason).await;
        assert!(answers(&world, &name).await, "{edit}: its workloads go on");
        let back = annotations(&json!(before.annotations()));
        world.patch::<Secret>(&name, back).await;
        assert_eq!(
            id_of(&world.until_ready(&name).await),
            id_of(&token),
            "{edit}"
        );
    }
    assert_eq!((world.minted(), world.live().len()), (5, 5));
}

#[tokio::test]
async fn a_forged_owner_that_is_gone_gives_nobody_a_neighbours_token() {
    let neighbour = World::new().await;
    let theirs = id_of(&neighbour.ready_token("theirs").await);
    let tenant = neighbour.neighbour().await;
    tenant.main_account().await;
    // What a tenant knows: the id, and not the value.
    tenant.ready_token("former").await;
    forsake(&tenant, "former").await;
    let made_up = format!("platform-v1-{}", "0".repeat(64));
    let hash = platform_token_operator::api::TokenValue::parse(&made_up)
        .unwrap()
        .hash();
    let forged = json!({
        "metadata": { "annotations": { names::TOKEN_ID: theirs, names::TOKEN_HASH: hash.as_str() } },
        "stringData": { "token": made_up, names::TOKEN_VARIABLE: made_up },
    });
    tenant.patch::<Secret>("former", forged).await;
    tenant.token("former", json!({})).await;
    let message = tenant.until_trouble("former", "SecretNotWritable").await;
    assert!(message.contains("is a copy"), "{message}");
    assert!(!message.contains(&neighbour.namespace), "{message}");
    // Nor by the deletion of either.
    tenant.delete::<Secret>("former").await;
    tenant.until_ready("former").await;
    tenant.delete::<PlatformToken>("former").await;
    tenant.until_gone::<PlatformToken>("former").await;
    assert!(lives(&neighbour, &theirs) && answers(&neighbour, "theirs").await);
}
