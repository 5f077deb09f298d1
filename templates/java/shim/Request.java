import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;

/** A call. Names of headers are found in any case; `query` is what stands after the `?`. */
public record Request(String method, String path, String query, Map<String, List<String>> headers, byte[] body) {
    /** The body as text. */
    public String text() {
        return new String(body, StandardCharsets.UTF_8);
    }

    /** The first header of this name, or null. */
    public String header(String name) {
        List<String> values = headers.get(name);
        return values == null ? null : values.get(0);
    }
}
