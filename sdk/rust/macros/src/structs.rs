//! The attributes of structs: which behaviour an actor has, and what is declared of it.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::meta::ParseNestedMeta;
use syn::parse::Parser as _;
use syn::spanned::Spanned as _;
use syn::{Error, ItemStruct, LitInt, LitStr, Token, bracketed};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Server,
    Event,
    Fsm,
    Workflow,
}

#[derive(Default)]
struct Arguments {
    name: Option<LitStr>,
    durable: bool,
    version: Option<LitInt>,
    states: Vec<LitStr>,
    initial: Option<LitStr>,
}

impl Arguments {
    fn take(&mut self, kind: Kind, meta: &ParseNestedMeta<'_>) -> Result<(), Error> {
        if meta.path.is_ident("durable") {
            self.durable = true;
        } else if meta.path.is_ident("version") {
            self.version = Some(meta.value()?.parse()?);
        } else if meta.path.is_ident("name") {
            self.name = Some(meta.value()?.parse()?);
        } else if kind == Kind::Fsm && meta.path.is_ident("states") {
            let list;
            let value = meta.value()?;
            bracketed!(list in value);
            self.states = list.parse_terminated(<LitStr as syn::parse::Parse>::parse, Token![,])?.into_iter().collect();
        } else if kind == Kind::Fsm && meta.path.is_ident("initial") {
            self.initial = Some(meta.value()?.parse()?);
        } else if kind == Kind::Fsm {
            return Err(meta.error("unknown argument, expected states, initial, name, durable or version"));
        } else {
            return Err(meta.error("unknown argument, expected name, durable or version"));
        }
        Ok(())
    }

    fn check(&self, kind: Kind, item: &ItemStruct) -> Result<(), Error> {
        if kind != Kind::Fsm {
            return Ok(());
        }
        if self.states.is_empty() {
            return Err(Error::new(
                item.ident.span(),
                "a state machine declares its states: #[fsm_actor(states = [\"idle\", \"busy\"], initial = \"idle\")]",
            ));
        }
        for (index, state) in self.states.iter().enumerate() {
            if self.states.iter().take(index).any(|earlier| earlier.value() == state.value()) {
                return Err(Error::new(state.span(), format!("the state {:?} is declared twice", state.value())));
            }
        }
        let known = || self.states.iter().map(|state| format!("{:?}", state.value())).collect::<Vec<_>>().join(", ");
        match &self.initial {
            None => Err(Error::new(item.ident.span(), "a state machine declares where it begins: initial = \"..\"")),
            Some(initial) if !self.states.iter().any(|state| state.value() == initial.value()) => {
                Err(Error::new(initial.span(), format!("the initial state {:?} is none of the states {}", initial.value(), known())))
            }
            Some(_) => Ok(()),
        }
    }
}

pub(crate) fn expand(kind: Kind, arguments: TokenStream, item: TokenStream) -> TokenStream {
    match try_expand(kind, arguments, item.clone()) {
        Ok(tokens) => tokens,
        Err(error) => {
            let error = error.to_compile_error();
            // The struct stays, so that a mistake in the arguments is the only error.
            quote!(#item #error)
        }
    }
}

fn try_expand(kind: Kind, tokens: TokenStream, item: TokenStream) -> Result<TokenStream, Error> {
    let item: ItemStruct = syn::parse2(item).map_err(|error| Error::new(error.span(), "an actor is a struct"))?;
    let mut arguments = Arguments::default();
    syn::meta::parser(|meta| arguments.take(kind, &meta)).parse2(tokens)?;
    arguments.check(kind, &item)?;

    let ident = &item.ident;
    let name = arguments.name.as_ref().map_or_else(|| ident.to_string(), LitStr::value);
    let (behavior, marker) = match kind {
        Kind::Server => (quote!(GenServer), quote!(GenServerBehavior)),
        Kind::Event => (quote!(GenEvent), quote!(GenEventBehavior)),
        Kind::Fsm => (quote!(GenFSM), quote!(GenFSMBehavior)),
        Kind::Workflow => (quote!(Workflow), quote!(WorkflowBehavior)),
    };
    let machine = if kind == Kind::Fsm { machine(&arguments, &item)? } else { TokenStream::new() };
    let durable = if arguments.durable { durability(&item) } else { TokenStream::new() };
    let version = arguments.version.as_ref().map(|version| quote!(const VERSION: u64 = #version;));
    let doc = doc(&item.attrs);
    let (generics, arguments, bounds) = item.generics.split_for_impl();
    Ok(quote! {
        #item

        #[automatically_derived]
        impl #generics ::plexspaces_sdk::ActorKind for #ident #arguments #bounds {
            const NAME: &'static str = #name;
            const BEHAVIOR: ::plexspaces_sdk::Behavior = ::plexspaces_sdk::Behavior::#behavior;
            const DOC: &'static str = #doc;
            #machine
            #durable
            #version
        }

        #[automatically_derived]
        impl #generics ::plexspaces_sdk::#marker for #ident #arguments #bounds {}
    })
}

fn machine(arguments: &Arguments, item: &ItemStruct) -> Result<TokenStream, Error> {
    let field = item.fields.iter().find(|field| field.ident.as_ref().is_some_and(|ident| ident == "fsm_state"));
    let Some(field) = field else {
        return Err(Error::new(item.ident.span(), "a state machine keeps its state in a field `fsm_state: String`"));
    };
    let (states, initial) = (&arguments.states, &arguments.initial);
    let access = quote_spanned!(field.ty.span()=> &mut self.fsm_state);
    Ok(quote! {
        const STATES: &'static [&'static str] = &[#(#states),*];
        const INITIAL: ::core::option::Option<&'static str> = ::core::option::Option::Some(#initial);

        fn fsm_state(&mut self) -> ::core::option::Option<&mut ::std::string::String> {
            ::core::option::Option::Some(#access)
        }
    })
}

fn durability(item: &ItemStruct) -> TokenStream {
    let span = item.ident.span();
    quote_spanned! {span=>
        const DURABLE: bool = true;

        fn snapshot(&self) -> ::core::result::Result<::std::string::String, ::plexspaces_sdk::BehaviorError> {
            ::plexspaces_sdk::__private::snapshot(self)
        }

        fn restore(&mut self, state: &[u8]) -> ::core::result::Result<(), ::plexspaces_sdk::BehaviorError> {
            *self = ::plexspaces_sdk::__private::restored(state)?;
            ::core::result::Result::Ok(())
        }
    }
}

/// The text of doc comments.
pub(crate) fn doc(attributes: &[syn::Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join("\n")
}
