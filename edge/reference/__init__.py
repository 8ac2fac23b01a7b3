"""The API's description as a page for people, made from the OpenAPI document."""
