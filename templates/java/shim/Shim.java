import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.util.Map;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;

/**
 * Serves Handler.handle on $HOST:$PORT; the JDK's server knows no unix sockets.
 *
 * handle takes a Request or a String (the body), and returns a Response, a String, bytes or nothing.
 */
public class Shim {
    /** hob's default limit of processes and threads is 256. */
    static final int MAX_THREADS = 128;
    static final int BACKLOG = 1024;
    static final AtomicInteger CALLS = new AtomicInteger();

    static Method handle;
    static Object handler;

    public static void main(String[] args) throws Exception {
        find();
        String host = System.getenv().getOrDefault("HOST", "127.0.0.1");
        int port = Integer.parseInt(System.getenv().getOrDefault("PORT", "8080"));
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getByName(host), port), BACKLOG);
        server.setExecutor(new ThreadPoolExecutor(
            4, MAX_THREADS, 60, TimeUnit.SECONDS, new SynchronousQueue<>(), new ThreadPoolExecutor.CallerRunsPolicy()));
        server.createContext("/", Shim::serve);
        Runtime.getRuntime().addShutdownHook(new Thread(Shim::finish));
        server.start();
    }

    /** Waits for the calls in flight. HttpServer.stop waits its full time even when there are none. */
    static void finish() {
        while (CALLS.get() > 0) {
            LockSupport.parkNanos(5_000_000);
        }
    }

    static void find() throws Exception {
        for (Method method : Handler.class.getMethods()) {
            if (method.getName().equals("handle") && method.getParameterCount() == 1) {
                handle = method;
            }
        }
        if (handle == null) {
            System.err.println("Handler.java has no method `public static String handle(Request request)`");
            System.exit(1);
        }
        if (!Modifier.isStatic(handle.getModifiers())) {
            handler = Handler.class.getDeclaredConstructor().newInstance();
        }
    }

    static void serve(HttpExchange exchange) throws IOException {
        CALLS.incrementAndGet();
        try (exchange) {
            URI uri = exchange.getRequestURI();
            byte[] body = exchange.getRequestBody().readAllBytes();
            Request request = new Request(exchange.getRequestMethod(), uri.getRawPath(),
                uri.getRawQuery() == null ? "" : uri.getRawQuery(), exchange.getRequestHeaders(), body);
            send(exchange, call(request));
        } finally {
            CALLS.decrementAndGet();
        }
    }

    static Response call(Request request) {
        try {
            boolean text = handle.getParameterTypes()[0] == String.class;
            return answer(handle.invoke(handler, text ? request.text() : request));
        } catch (InvocationTargetException thrown) {
            thrown.getCause().printStackTrace();
        } catch (ReflectiveOperationException | IllegalArgumentException error) {
            error.printStackTrace();
        }
        String name = System.getenv("HOB_FUNCTION");
        return new Response(500, "handler failed: see " + (name == null ? "its log" : "`hob logs " + name + "`") + "\n");
    }

    static Response answer(Object result) {
        if (result instanceof Response response) return response;
        if (result instanceof byte[] bytes) return new Response(200, Map.of("Content-Type", "application/octet-stream"), bytes);
        return new Response(200, result == null ? "" : result.toString());
    }

    static void send(HttpExchange exchange, Response response) throws IOException {
        response.headers().forEach(exchange.getResponseHeaders()::set);
        boolean empty = response.body().length == 0 || exchange.getRequestMethod().equals("HEAD");
        exchange.sendResponseHeaders(response.status(), empty ? -1 : response.body().length);
        if (!empty) exchange.getResponseBody().write(response.body());
    }
}
