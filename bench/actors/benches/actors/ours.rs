//! The measurements of our own actors.

use std::sync::Arc;
use std::time::Instant;

use plexspaces_sdk::{
    ActorContext, ActorId, ActorRef, BehaviorError, Message, Node, NodeBuilder, RequestContext, gen_server_actor, handler,
    plexspaces_handlers, spawn_with_facets,
};
use tokio::sync::Notify;

use crate::{ASKS, IDLE, MANY, PATIENCE, ROUNDS_OF_THE_RING, SPAWNS, TELLS, resident};

#[gen_server_actor]
struct Counter {
    count: u64,
}

#[plexspaces_handlers]
impl Counter {
    #[handler("add", "cast")]
    async fn add(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<(), BehaviorError> {
        self.count += 1;
        Ok(())
    }

    #[handler("get")]
    async fn get(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<u64, BehaviorError> {
        Ok(self.count)
    }
}

#[gen_server_actor]
struct Link {
    next: Option<ActorRef>,
    done: Arc<Notify>,
}

#[plexspaces_handlers]
impl Link {
    #[handler("token", "cast")]
    async fn token(&mut self, ctx: &ActorContext, msg: &Message) -> Result<(), BehaviorError> {
        let left = u64::from_le_bytes(msg.payload[..8].try_into().unwrap());
        match &self.next {
            Some(next) if left > 0 => ctx.tell(next, token(left - 1)).await?,
            _ => self.done.notify_one(),
        }
        Ok(())
    }

    #[handler("close", "cast")]
    async fn close(&mut self, ctx: &ActorContext, _msg: &Message) -> Result<(), BehaviorError> {
        self.next = Some(ctx.actor_ref("0")?);
        Ok(())
    }
}

fn token(left: u64) -> Message {
    Message::from_bytes("token", left.to_le_bytes().to_vec())
}

fn message(operation: &str) -> Message {
    Message::from_bytes(operation, bytes::Bytes::new())
}

struct Lab {
    node: Node,
    ctx: RequestContext,
}

impl Lab {
    async fn counter(&self, index: usize) -> ActorRef {
        let id = ActorId::from(index.to_string());
        spawn_with_facets(&self.ctx, self.node.service_locator(), id, "default", Counter { count: 0 }, vec![]).await.unwrap()
    }

    async fn counters(&self, count: usize) -> Vec<ActorRef> {
        let mut actors = Vec::with_capacity(count);
        for index in 0..count {
            actors.push(self.counter(index).await);
        }
        actors
    }
}

async fn get(actor: &ActorRef) -> u64 {
    actor.ask(message("get"), PATIENCE).await.unwrap().json().unwrap()
}

pub async fn measure(row: String) -> f64 {
    let lab = Lab { node: NodeBuilder::new("node1").build().await, ctx: RequestContext::new_without_auth("t".into(), "default".into()) };
    match row.as_str() {
        "tell-1" => tell(&lab, 1).await,
        "tell-1000" => tell(&lab, MANY).await,
        "ask" => {
            let actor = lab.counter(0).await;
            let started = Instant::now();
            for _ in 0..ASKS {
                get(&actor).await;
            }
            started.elapsed().as_secs_f64()
        }
        "spawn-stop" => {
            let started = Instant::now();
            let actors = lab.counters(SPAWNS).await;
            for actor in &actors {
                actor.stop();
            }
            for actor in &actors {
                while actor.is_live() {
                    tokio::task::yield_now().await;
                }
            }
            started.elapsed().as_secs_f64()
        }
        "ring-1000" => ring(&lab).await,
        _ => {
            let before = resident();
            let actors = lab.counters(IDLE).await;
            let after = resident();
            assert_eq!(get(&actors[IDLE - 1]).await, 0);
            after - before
        }
    }
}

async fn tell(lab: &Lab, receivers: usize) -> f64 {
    let actors = lab.counters(receivers).await;
    let started = Instant::now();
    for index in 0..TELLS {
        actors[index % receivers].tell(message("add")).await.unwrap();
    }
    let mut total = 0;
    for actor in &actors {
        total += get(actor).await;
    }
    let took = started.elapsed().as_secs_f64();
    assert_eq!(total, TELLS as u64);
    took
}

async fn ring(lab: &Lab) -> f64 {
    let done = Arc::new(Notify::new());
    let mut next = None;
    let mut last = None;
    for index in (0..MANY).rev() {
        let link = Link { next, done: done.clone() };
        let id = ActorId::from(index.to_string());
        let actor = spawn_with_facets(&lab.ctx, lab.node.service_locator(), id, "default", link, vec![]).await.unwrap();
        last.get_or_insert_with(|| actor.clone());
        next = Some(actor);
    }
    let (first, last) = (next.unwrap(), last.unwrap());
    last.tell(message("close")).await.unwrap();
    let started = Instant::now();
    first.tell(token((MANY * ROUNDS_OF_THE_RING) as u64)).await.unwrap();
    done.notified().await;
    started.elapsed().as_secs_f64()
}
