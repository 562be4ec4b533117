//! `plexspaces_handlers`: from the methods of an `impl` block to the actor's dispatcher.

use std::collections::HashMap;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Error, FnArg, ImplItem, ImplItemFn, ItemImpl, ReturnType};

use crate::marks::{self, Mark};
use crate::structs::doc;

const SIGNATURE: &str = "a handler is `async fn name(&mut self, ctx: &ActorContext, msg: &Message) -> Result<T, BehaviorError>`";
const INIT_SIGNATURE: &str =
    "an init handler is `async fn name(&mut self, ctx: &ActorContext, config: &Value) -> Result<(), BehaviorError>`";

/// A method that handles something.
struct Handler {
    /// What it is called for; `*` for anything else.
    operation: String,
    span: Span,
    /// As `HandlerKind` names it; none if nothing is said.
    kind: Option<&'static str>,
    method: Ident,
    is_async: bool,
    doc: String,
}

#[derive(Default)]
struct Found {
    handlers: Vec<Handler>,
    init: Option<(Ident, bool)>,
    errors: Option<Error>,
}

impl Found {
    fn fail(&mut self, error: Error) {
        match &mut self.errors {
            Some(errors) => errors.combine(error),
            None => self.errors = Some(error),
        }
    }
}

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut block: ItemImpl = match syn::parse2(item.clone()) {
        Ok(block) => block,
        Err(_) => return Error::new(item.span(), "#[plexspaces_handlers] belongs on an `impl` block").to_compile_error(),
    };
    let mut found = Found::default();
    if !arguments.is_empty() {
        found.fail(Error::new(arguments.span(), "expected no arguments"));
    }
    if let Some((_, path, _)) = &block.trait_ {
        found.fail(Error::new_spanned(path, "handlers are collected from the actor's own `impl` block, and this is one of a trait"));
    }
    collect(&mut block, &mut found);
    twice(&mut found);
    if found.handlers.is_empty() && found.init.is_none() && found.errors.is_none() {
        found.fail(Error::new_spanned(
            &block.self_ty,
            "there is no handler in this `impl` block: mark a method with #[handler(\"operation\")]",
        ));
    }
    if let Some(errors) = &found.errors {
        let errors = errors.to_compile_error();
        return quote!(#block #errors);
    }
    let dispatcher = dispatcher(&block, &found);
    quote!(#block #dispatcher)
}

fn collect(block: &mut ItemImpl, found: &mut Found) {
    for item in &mut block.items {
        let ImplItem::Fn(method) = item else { continue };
        let mut marks = Vec::new();
        for attribute in &mut method.attrs {
            match marks::take(attribute) {
                Ok(Some(mark)) => marks.push(mark),
                Ok(None) => {}
                Err(error) => found.fail(error),
            }
        }
        for mark in marks {
            let init = matches!(mark, Mark::Init);
            if let Err(error) = check(method, if init { INIT_SIGNATURE } else { SIGNATURE }) {
                found.fail(error);
                break;
            }
            add(found, method, mark);
        }
    }
}

fn add(found: &mut Found, method: &ImplItemFn, mark: Mark) {
    let (operation, span, kind) = match mark {
        Mark::Init if found.init.is_some() => {
            return found.fail(Error::new(method.sig.ident.span(), "there is another init handler"));
        }
        Mark::Init => {
            found.init = Some((method.sig.ident.clone(), method.sig.asyncness.is_some()));
            return;
        }
        Mark::Run => ("workflow_run".to_owned(), method.sig.ident.span(), Some("Run")),
        Mark::Signal(name) => (format!("workflow_signal:{}", name.value()), name.span(), Some("Signal")),
        Mark::Query(name) => (format!("workflow_query:{}", name.value()), name.span(), Some("Query")),
        Mark::Handler { operation, kind } => (operation.value(), operation.span(), kind),
    };
    found.handlers.push(Handler {
        operation,
        span,
        kind,
        method: method.sig.ident.clone(),
        is_async: method.sig.asyncness.is_some(),
        doc: doc(&method.attrs),
    });
}

/// What can be seen of a signature without knowing types; the compiler checks the rest where the method is called.
fn check(method: &ImplItemFn, wanted: &str) -> Result<(), Error> {
    let signature = &method.sig;
    let receiver = signature.inputs.first();
    match receiver {
        Some(FnArg::Receiver(receiver)) if receiver.reference.is_some() => {}
        Some(FnArg::Receiver(receiver)) => return Err(Error::new_spanned(receiver, format!("expected `&mut self`: {wanted}"))),
        _ => return Err(Error::new_spanned(signature, format!("expected `&mut self` first: {wanted}"))),
    }
    if signature.inputs.len() != 3 {
        let arguments = signature.inputs.len() - 1;
        return Err(Error::new_spanned(&signature.inputs, format!("found {arguments} arguments after self, expected 2: {wanted}")));
    }
    if matches!(signature.output, ReturnType::Default) {
        return Err(Error::new_spanned(signature, format!("the result is missing: {wanted}")));
    }
    if let Some(parameter) = signature.generics.type_params().next() {
        return Err(Error::new_spanned(parameter, format!("a handler has no type parameters: {wanted}")));
    }
    Ok(())
}

/// Two methods for one operation.
fn twice(found: &mut Found) {
    let mut seen: HashMap<String, Ident> = HashMap::new();
    let mut errors = Vec::new();
    for handler in &found.handlers {
        if let Some(first) = seen.insert(handler.operation.clone(), handler.method.clone()) {
            let message = format!("the operation {:?} has a handler already: `{first}`", handler.operation);
            errors.push(Error::new(handler.span, message));
        }
    }
    for error in errors {
        found.fail(error);
    }
}

fn dispatcher(block: &ItemImpl, found: &Found) -> TokenStream {
    let ty = &block.self_ty;
    let (generics, _, bounds) = block.generics.split_for_impl();
    let taken = |name: &str| found.handlers.iter().any(|handler| handler.operation == name);
    let mut arms = Vec::new();
    let mut other = quote!(::core::result::Result::Err(::plexspaces_sdk::__private::unknown::<Self>(msg)));
    let mut infos = Vec::new();
    for handler in &found.handlers {
        let call = call(handler);
        let (operation, doc) = (&handler.operation, &handler.doc);
        let kind = match handler.kind {
            Some(kind) => {
                let kind = Ident::new(kind, Span::call_site());
                quote!(::plexspaces_sdk::HandlerKind::#kind)
            }
            None => quote!(::plexspaces_sdk::__private::usual_kind::<Self>()),
        };
        infos.push(quote! {
            ::plexspaces_sdk::Operation { name: #operation, kind: #kind, doc: #doc }
        });
        if operation == "*" {
            other = call;
            continue;
        }
        let mut names = vec![operation.as_str()];
        if handler.kind == Some("Run") {
            names.extend(["run", "start"].into_iter().filter(|name| !taken(name)));
        }
        arms.push(quote!(#(#names)|* => #call));
    }
    let init = found.init.as_ref().map(|(method, is_async)| {
        let wait = is_async.then(|| quote_spanned!(method.span()=> .await));
        quote! {
            const HAS_INIT: bool = true;

            async fn init(
                &mut self,
                ctx: &::plexspaces_sdk::ActorContext,
                config: &::plexspaces_sdk::Value,
            ) -> ::core::result::Result<(), ::plexspaces_sdk::BehaviorError> {
                ::plexspaces_sdk::__private::begun(self.#method(ctx, config) #wait)
            }
        }
    });
    quote! {
        #[automatically_derived]
        impl #generics ::plexspaces_sdk::Actor for #ty #bounds {
            const OPERATIONS: &'static [::plexspaces_sdk::Operation] = &[#(#infos),*];

            #init

            async fn handle(
                &mut self,
                ctx: &::plexspaces_sdk::ActorContext,
                msg: &::plexspaces_sdk::Message,
            ) -> ::core::result::Result<::plexspaces_sdk::Payload, ::plexspaces_sdk::BehaviorError> {
                match msg.msg_type.as_str() {
                    #(#arms,)*
                    _ => #other,
                }
            }
        }
    }
}

fn call(handler: &Handler) -> TokenStream {
    let method = &handler.method;
    let wait = handler.is_async.then(|| quote_spanned!(method.span()=> .await));
    let call = quote_spanned!(method.span()=> self.#method(ctx, msg));
    if matches!(handler.kind, Some("Cast" | "Signal")) {
        quote!(::plexspaces_sdk::__private::done(#call #wait))
    } else {
        quote!(::plexspaces_sdk::__private::answer(msg, #call #wait))
    }
}
