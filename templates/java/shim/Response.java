import java.nio.charset.StandardCharsets;
import java.util.Map;

/** An answer. */
public record Response(int status, Map<String, String> headers, byte[] body) {
    public Response(int status, String text) {
        this(status, Map.of("Content-Type", "text/plain; charset=utf-8"), text.getBytes(StandardCharsets.UTF_8));
    }
}
