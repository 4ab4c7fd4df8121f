pub mod limits; pub mod route; pub mod warmup;
