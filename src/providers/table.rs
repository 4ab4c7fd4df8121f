//! What a line in the table of types becomes: a module, a key in the YAML, a schema, a row of the reference.

macro_rules! providers {
    ($($key:ident: $module:ident::$spec:ident, $about:literal;)*) => {
        $(pub(crate) mod $module;)*

        /// How a server is spoken to: exactly one key, which is its type.
        #[derive(Clone, Debug, PartialEq, ::serde::Serialize, ::serde::Deserialize)]
        #[allow(non_camel_case_types)]
        pub enum ProviderSpec {
            $(#[doc = $about] $key($module::$spec)),*
        }

        impl ProviderSpec {
            /// Every type, what it is for, and what it needs.
            pub const TYPES: &'static [(&'static str, &'static str, TypeInfo)] =
                &[$((stringify!($key), $about, <$module::$spec as ServerType>::INFO)),*];

            /// The key in the YAML.
            #[must_use]
            pub fn type_name(&self) -> &'static str {
                match self { $(Self::$key(_) => stringify!($key)),* }
            }

            fn provider(&self) -> &dyn Provider {
                match self { $(Self::$key(spec) => spec),* }
            }
        }

        impl ::schemars::JsonSchema for ProviderSpec {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                "Provider".into()
            }

            // By hand instead of `oneOf`: a fault within a type is told as that type's fault.
            fn json_schema(generator: &mut ::schemars::SchemaGenerator) -> ::schemars::Schema {
                let mut properties = serde_json::Map::new();
                $(
                    let mut schema = generator.subschema_for::<$module::$spec>();
                    schema.insert("description".to_owned(), $about.into());
                    properties.insert(stringify!($key).to_owned(), schema.to_value());
                )*
                let types: Vec<&str> = properties.keys().map(String::as_str).collect();
                let given: Vec<String> = types.iter().map(|name| format!("has(self.{name})")).collect();
                let rule = serde_json::json!({
                    "message": format!("exactly one key is needed, which is the server's type: `{}`", types.join("`, `")),
                    "rule": format!("[{}].exists_one(given, given)", given.join(", ")),
                });
                ::schemars::json_schema!({
                    "type": "object",
                    "description": "How to reach the server: exactly one key, which is its type.",
                    "properties": properties,
                    "additionalProperties": false,
                    "x-kubernetes-validations": [rule],
                })
            }
        }

        impl Provider for ProviderSpec {
            fn doubts(&self) -> Vec<(String, String)> {
                self.provider().doubts()
            }

            fn secrets(&self) -> Vec<SecretUse> {
                self.provider().secrets()
            }

            fn address(&self) -> String {
                self.provider().address()
            }

            fn signing(&self) -> Signing {
                self.provider().signing()
            }

            fn known_limits(&self) -> Vec<Rate> {
                self.provider().known_limits()
            }

            fn webhook(
                &self,
                server: &Key,
                credentials: &webhook::WebhookCredentials,
            ) -> Option<Result<Box<dyn webhook::Webhook>, Blocker>> {
                self.provider().webhook(server, credentials)
            }

            fn holds(&self) -> Holds {
                self.provider().holds()
            }

            fn has_envelope(&self) -> bool {
                self.provider().has_envelope()
            }

            fn build(&self, context: Context) -> Result<Arc<dyn Server>, Blocker> {
                self.provider().build(context)
            }
        }
    };
}
