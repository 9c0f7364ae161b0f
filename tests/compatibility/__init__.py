"""How the plugin gets on with others: `make compatibility` tries it, and writes docs/compatibility.md."""
