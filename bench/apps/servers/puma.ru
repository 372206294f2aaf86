# A Sinatra application of the usual kind: JSON in, objects, a template, JSON out; a cache of bounded size.
require "json"
require "sinatra/base"

class Shop < Sinatra::Base
  set :environment, :production
  set :logging, false
  set :cache, {}
  set :lock, Mutex.new

  PAGE = "<ul><% orders.each do |o| %><li><%= o['title'] %>: <%= o['lines'].join(', ') %></li><% end %></ul>"

  get "/health" do
    "up"
  end

  post "/orders/:id" do
    order = JSON.parse(request.body.read)
    order["lines"] = order["items"].map { |item| "#{params[:id]} #{item['sku']} #{item['title'].upcase}" }
    settings.lock.synchronize do
      settings.cache[params[:id].to_i] = order
      settings.cache.shift while settings.cache.size > 500
    end
    content_type :json
    JSON.generate(order)
  end

  get "/orders" do
    orders = settings.lock.synchronize { settings.cache.values.last(params.fetch("count", "20").to_i) }
    erb PAGE, locals: { orders: orders }
  end
end

run Shop
