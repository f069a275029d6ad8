use super::reader::Reader;
use super::town::Town;
use crate::support::database::server_database;
use crate::support::site::Site;

/// Two instances share a server: what one is told, whoever follows the other hears of.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_instance_is_told_the_other_tells() {
    let database = server_database().await;
    let other = Site::start_with(|config| config.database = database.clone()).await;
    let mut town = Town::around(Site::start_with(|config| config.database = database).await).await;
    let (bo, cy, harbour) = (town.bo.clone(), town.cy.clone(), town.harbour.clone());
    town.told_at(&other.url()).await;
    let tokens = [&town.ada, &bo].map(|user| town.token(user, &harbour));
    let mut hers = Reader::open(&other.url(), &tokens[0], None).await;
    let mut his = Reader::open(&other.url(), &tokens[1], None).await;
    let mut local = town.follow(&harbour).await;
    for round in 0..5 {
        town.rename(&bo, &round.to_string()).await;
        assert_eq!(local.event().await.unwrap(), format!("upserted {bo}"));
        // And what is read then is what it was told of, whichever instance a balancer asks.
        let members = other.get(crate::support::site::USERS, &town.token(&town.ada, &harbour)).await.json();
        let mut names = members.as_array().unwrap().iter().filter(|row| row["id"] == *bo);
        assert_eq!(names.next().unwrap()["lastName"], round.to_string());
        for reader in [&mut hers, &mut his] {
            assert_eq!(reader.event().await.unwrap(), format!("upserted {bo}"));
        }
        assert_eq!(hers.last_id, local.last_id);
    }
    // The place is good at either.
    town.join(&cy, &harbour).await;
    let mut again = Reader::open(&other.url(), &town.token(&town.ada, &harbour), Some(&local.last_id)).await;
    assert_eq!(again.event().await.unwrap(), format!("upserted {cy}"));
    assert_eq!(his.event().await.unwrap(), format!("upserted {cy}"));
    town.leave(&bo, &harbour).await;
    assert!(his.rest_of_it().await.is_empty());
    assert_eq!(hers.until(&format!("removed {bo}")).await, [format!("upserted {cy}")]);
    other.stop().await;
}
