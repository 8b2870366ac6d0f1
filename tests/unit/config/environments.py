"""Environments of plausible and hostile fragments, for the tests of the settings."""

from hypothesis import strategies as st

from streams.settings import Settings

MARK = "s3cr3t"
"""What stands wherever a secret would."""
OTHER_DIGIT = "\N{FULLWIDTH DIGIT ONE}"


def any_of(words: str, *more: str) -> st.SearchStrategy[str]:
    """One of the words, or of what is no word."""
    return st.sampled_from([*words.split(), *more])


hosts = any_of(
    "h kafka-1.example.org my_host 127.0.0.1 [::1] bücher.example a..b 300.1.1.1 [::g] [ fe80::1 - %20 a,b:1",
    *("", "a b", "h\n", f"{'a' * 64}.org"),
)
ports = any_of(":1883 :6379 :1 : :0 :65536 :x :1:2 :-1", "", "", "", f":{OTHER_DIGIT}")
users = any_of("u@ u:s3cr3t@ :s3cr3t@ u:s3cr3t%40@ u:s3cr3t%ff@ u:s3cr3t%00@", "", "", "") | st.builds(
    "u:{}s3cr3t{}@".format, *[any_of("/ ? # @ [ % : \\", "", " ")] * 2
)
paths = any_of("/ /0 /1 /app /laravel /-1 /0/1 /run/x.sock // /%zz", "", "", "/a b")
options = any_of(
    """db=1 db=x db=1&db=2 read_timeout=60 prefix=app host=s3cr3t protocol=9 client_name=a%20b s3cr3t = a=
    %00=1 ssl_cert_reqs=none ssl_cert_reqs=no ssl_ca_certs=/nowhere ssl_min_version=3 ssl_ciphers=x
    socket_keepalive=1 sslmode=require sslmode=no sslrootcert=/nowhere channel_binding=require schema=app
    connect_timeout=5 search_path=a application_name=x TimeZone=CET target_session_attrs=any gsslib=x
    target_session_attrs=x password=s3cr3t port=0 port=x host=/run/postgresql s3cr3t@h/d=1 passfile=/nowhere
    sslpassword=s3cr3t"""
)
queries = st.just("") | st.lists(options, min_size=1, max_size=2).map(lambda many: "?" + "&".join(many))
schemes = any_of(
    """mqtt mqtts ws wss redis rediss unix postgresql postgres kafka KAFKA http kafka+ssl sasl_ssl confluent
    redis+sentinel postgresql+asyncpg mysql tcp""",
    "",
)
no_urls = any_of(
    "h h:9092 u:s3cr3t@h a:9092,b a;b:1 :// h:// mqtt:s3cr3t@h postgresql://u:s3cr3t/h",
    " ",
    "kafka://a, b:1;c",
)


def urls(usual: str) -> st.SearchStrategy[str]:
    """URLs of all kinds, half of them with a scheme that is right."""
    return st.builds("{}://{}{}{}{}{}".format, any_of(usual) | schemes, users, hosts, ports, paths, queries)


topics = st.text("a/+#$€ \0", max_size=6) | any_of(
    "metrics/# # +/status bridge/# bridge/status bridge/+/# $SYS/# $share/g/a", "a" * 70_000
)
values = topics | any_of(
    """0 1 -1 2 90 500 1000 65535 65536 1e3 1.5 inf nan 1e309 0x10 2147483647 2147483648 4294967295 3153600000
    99999999999999999999 tcp://10.0.0.1:80 true no maybe a a.b A\\B \\A A\\\\B null derive none zstd gzip auto
    mqtt5 aiomqtt 127.0.0.1 ::1 0.0.0.0 [::1] * é .. _""",
    *("", " 1 ", "a b", "a\nb", "a\udcff", "x" * 300),
)
SPECIAL = {
    "BROKER_URL": urls("kafka") | no_urls,
    "MQTT_URL": urls("mqtt mqtts ws wss") | no_urls,
    "REDIS_URL": urls("redis rediss unix") | no_urls,
    "DATABASE_URL": urls("postgresql postgres") | no_urls,
    "WEB_TOKEN": any_of("s3cr3t s3cr3té", "", "s3cr3t\n", " s3cr3t"),
    "MQTT_TOPIC_FILTER": topics,
    "MQTT_STATUS_TOPIC": topics,
    "MQTT_SHARE_GROUP": topics,
    "WORKER_ID": topics,
}
SPECIAL |= {f"{name}_FILE": any_of("s3cr3t nowhere/s3cr3t . /dev/zero") for name in ("MQTT_URL", "WEB_TOKEN")}
NAMES = [name.upper() for name in Settings.model_fields]
OTHER_NAMES = ["MQTT_TOPICFILTER", "KAFKA_BROKER_URL", "redis_url", "DEDUPE_WINDOW", "WEB_PORT_FILE", "PATH"]


def environments() -> st.SearchStrategy[dict[str, str]]:
    """Environments of a few settings each; those with a shape of their own come more often."""
    one = st.sampled_from([*NAMES, *SPECIAL, *SPECIAL, *OTHER_NAMES]).flatmap(
        lambda name: st.tuples(st.just(name), SPECIAL.get(name, values))
    )
    return st.lists(one, max_size=5).map(dict)
