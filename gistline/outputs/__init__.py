"""How what is decided leaves the house: MQTT, Redis pub/sub, webhooks, mail. One file a protocol."""
